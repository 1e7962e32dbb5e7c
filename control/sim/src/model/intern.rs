//! Small numbers for values that recur: a state of the model is a few dozen bytes because it holds
//! indices of ownerships, records and letters instead of the values. And the hash for both, since
//! the standard one is built to resist attackers and takes most of the run.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// The model's hash.
pub(super) type Spread = BuildHasherDefault<Mix>;

/// Values and their numbers, in the order of first sight.
#[derive(Debug)]
pub(super) struct Interner<T> {
    values: Vec<T>,
    numbers: HashMap<T, u16, Spread>,
}

impl<T: Clone + Eq + Hash> Interner<T> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), numbers: HashMap::default() }
    }

    pub(super) fn number(&mut self, value: T) -> u16 {
        if let Some(&number) = self.numbers.get(&value) {
            return number;
        }
        let number = u16::try_from(self.values.len()).expect("a small model has few values");
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        number
    }

    pub(super) fn value(&self, number: u16) -> &T {
        &self.values[usize::from(number)]
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Folds words by multiplication, and mixes once at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix(u64);

impl Mix {
    fn fold(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ (mixed >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.fold(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.fold(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.fold(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.fold(n);
    }

    fn write_u128(&mut self, n: u128) {
        self.fold(n as u64);
        self.fold((n >> 64) as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.fold(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.fold(n as u64);
    }
}
