//! Networks as bytes: a mark, a version, the sizes, the weights and a checksum.

use super::{FEATURES, HIDDEN, INPUTS, LAYER, Network, QUANTILES, Unreadable, WEIGHT_MAX, WEIGHTS};

const MARK: &[u8; 6] = b"HLSTM\n";
const VERSION: u8 = 1;
/// The sizes that weights belong to.
const SIZES: [u8; 5] =
    [INPUTS as u8, FEATURES as u8, HIDDEN as u8, LAYER as u8, QUANTILES.len() as u8];
const HEAD: usize = MARK.len() + 1 + SIZES.len();

/// How long a saved network is.
pub(super) const LENGTH: usize = HEAD + 4 * WEIGHTS + 8;

impl Network {
    /// The network as bytes, always equally many.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.extend(MARK);
        bytes.push(VERSION);
        bytes.extend(SIZES);
        for weight in &self.weights {
            bytes.extend(weight.to_le_bytes());
        }
        bytes.extend(sum(&bytes).to_le_bytes());
        bytes
    }

    /// The network that was saved so.
    ///
    /// # Errors
    /// If it is not one, is of another version, was changed, or holds what is no usable number.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let rest = bytes.strip_prefix(MARK).ok_or(Unreadable::Foreign)?;
        let (head, rest) = rest.split_at_checked(1 + SIZES.len()).ok_or(Unreadable::Length)?;
        if head[0] != VERSION || head[1..] != SIZES {
            return Err(Unreadable::Version);
        }
        if bytes.len() != LENGTH {
            return Err(Unreadable::Length);
        }
        let (weights, checksum) = rest.split_at(4 * WEIGHTS);
        if sum(&bytes[..LENGTH - 8]).to_le_bytes() != checksum {
            return Err(Unreadable::Changed);
        }
        let (weights, _) = weights.as_chunks::<4>();
        let weights: Vec<f32> = weights.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        // A comparison with what is not a number is false.
        if !weights.iter().all(|weight| weight.abs() <= WEIGHT_MAX) {
            return Err(Unreadable::Weight);
        }
        Ok(Self { weights })
    }
}

/// FNV-1a: against accidents, not against forgery.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
