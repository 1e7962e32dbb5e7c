//! `homing certs`: a development CA and a certificate for each node of an installation. In
//! production the operator's own CA does this, by the same rule: a node's certificate carries the
//! node's name.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::args::CertsArgs;
use crate::trouble::Trouble;

/// Days a node's certificate is good for.
const NODE_DAYS: i64 = 365;
/// Days the CA is good for.
const CA_DAYS: i64 = 3_650;

/// Makes what is missing.
///
/// # Errors
/// A name that is none, a file that is there already or cannot be written.
pub fn run(args: &CertsArgs) -> Result<(), Trouble> {
    for name in &args.names {
        check(name)?;
    }
    fs::create_dir_all(&args.dir)?;
    if !args.force {
        let there = args.names.iter().map(|name| file(&args.dir, name, "key"));
        if let Some(taken) = there.into_iter().find(|path| path.exists()) {
            return Err(Trouble::failure(format!("{} is there already", taken.display()))
                .remedy("give another name, or --force to replace it"));
        }
    }
    let say = |words: String| {
        if !args.quiet {
            anstream::println!("{words}");
        }
    };
    let issuer = ca(&args.dir, &say)?;
    for name in &args.names {
        let key = KeyPair::generate().map_err(odd)?;
        let cert = node(name, &args.san)?.signed_by(&key, &issuer).map_err(odd)?;
        write(&file(&args.dir, name, "pem"), &cert.pem(), 0o644)?;
        write(&file(&args.dir, name, "key"), &key.serialize_pem(), 0o600)?;
        say(format!("{name}: {}", file(&args.dir, name, "pem").display()));
    }
    if let Some(name) = args.names.first() {
        let dir = args.dir.display();
        say(format!(
            "\nin the settings of {name}:\n\nname: {name}\nidentity: {{ ca: {dir}/ca.pem, cert: \
             {dir}/{name}.pem, key: {dir}/{name}.key }}"
        ));
    }
    Ok(())
}

/// The CA that is there, or a new one.
fn ca(dir: &Path, say: &dyn Fn(String)) -> Result<Issuer<'static, KeyPair>, Trouble> {
    let (cert, key) = (file(dir, "ca", "pem"), file(dir, "ca", "key"));
    let (has_cert, has_key) = (cert.exists(), key.exists());
    if has_cert != has_key {
        let (there, missing) = if has_cert { (&cert, &key) } else { (&key, &cert) };
        // A new CA in its place would shut out every node that trusts the one there.
        return Err(Trouble::failure(format!(
            "{} is there, and {} is not",
            there.display(),
            missing.display()
        ))
        .remedy("put the missing file back, or give another directory for a new CA"));
    }
    if has_key {
        let key = KeyPair::from_pem(&fs::read_to_string(&key)?).map_err(odd)?;
        return Issuer::from_ca_cert_pem(&fs::read_to_string(&cert)?, key).map_err(odd);
    }
    let pair = KeyPair::generate().map_err(odd)?;
    let mut params = dated(CA_DAYS, "Homing development CA")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let signed = params.self_signed(&pair).map_err(odd)?;
    write(&key, &pair.serialize_pem(), 0o600)?;
    write(&cert, &signed.pem(), 0o644)?;
    say(format!("a new CA: {}; keep {} to yourself", cert.display(), key.display()));
    Ok(Issuer::new(params, pair))
}

fn node(name: &str, more: &[String]) -> Result<CertificateParams, Trouble> {
    let mut params = dated(NODE_DAYS, name)?;
    // The node's own name first: it is what others know the node by.
    let names = [name, "localhost"].into_iter().chain(more.iter().map(String::as_str));
    for name in names {
        let san = match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into().map_err(odd)?),
        };
        params.subject_alt_names.push(san);
    }
    for address in [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn dated(days: i64, name: &str) -> Result<CertificateParams, Trouble> {
    let mut params = CertificateParams::new(Vec::new()).map_err(odd)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    // A day back: clocks of nodes may differ.
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(86_400);
    params.not_before = (now - day).into();
    params.not_after = (now + day * u32::try_from(days).unwrap_or(1)).into();
    Ok(params)
}

fn check(name: &str) -> Result<(), Trouble> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let fits = (1..=63).contains(&name.len()) && name.bytes().all(plain) && name != "ca";
    // Every certificate says `localhost`, and an address is not among a certificate's names: by
    // neither could a node be told from another.
    let tells = name != "localhost" && name.parse::<std::net::IpAddr>().is_err();
    if fits && tells {
        return Ok(());
    }
    Err(Trouble::usage(
        format!("{name:?} is no name of a node"),
        "write 1 to 63 lower-case letters, digits, `-` and `.`, no address and not `localhost`: \
         gate-paris-1",
    ))
}

fn file(dir: &Path, name: &str, ending: &str) -> PathBuf {
    dir.join(format!("{name}.{ending}"))
}

/// Written whole beside its place, then moved there: never half a key.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Trouble> {
    let beside = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut new = fs::File::options().write(true).create_new(true).mode(mode).open(&beside)?;
    new.write_all(text.as_bytes())?;
    fs::rename(&beside, path)?;
    Ok(())
}

fn odd(fault: rcgen::Error) -> Trouble {
    Trouble::failure(format!("the certificate cannot be made: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(dir: &Path, name: &str) -> CertsArgs {
        let (dir, names) = (dir.to_owned(), vec![name.to_owned()]);
        CertsArgs { dir, names, san: Vec::new(), force: true, quiet: true }
    }

    #[test]
    fn half_a_ca_is_never_replaced() {
        for lost in ["ca.key", "ca.pem"] {
            let dir = tempfile::tempdir().unwrap();
            run(&args(dir.path(), "gate-1")).unwrap();
            fs::remove_file(dir.path().join(lost)).unwrap();
            let trouble = run(&args(dir.path(), "gate-2")).unwrap_err();
            assert!(trouble.text.contains(lost) && !trouble.remedy.is_empty(), "{trouble:?}");
            assert!(!dir.path().join(lost).exists() && !dir.path().join("gate-2.key").exists());
        }
    }

    #[test]
    fn a_name_tells_a_node_from_all_others() {
        for name in ["localhost", "10.1.0.2", "127.0.0.1", "ca", "Gate", ""] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(check("gate-paris-1").is_ok() && check("gate.paris.example").is_ok());
    }
}
