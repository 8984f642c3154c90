//! Signed forms of one fixed length: what receipts, sightings, verdicts and statuses have in common.

/// Length of a signature, which ends every form.
pub(crate) const SIGNATURE: usize = 64;

/// What is signed: the form's name, which no other form begins with, and its fields one after the other.
pub(crate) fn signed(domain: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    [&[domain], fields].concat().concat()
}

/// The wire form: what is signed without the name, and the signature.
pub(crate) fn encode(domain: &[u8], mut signed: Vec<u8>, signature: &[u8; SIGNATURE]) -> Vec<u8> {
    signed.drain(..domain.len());
    signed.extend_from_slice(signature);
    signed
}

/// Reads the fields of a form whose whole length was checked before.
pub(crate) struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    /// `None` unless `bytes` are exactly `len` long.
    pub(crate) fn of(bytes: &'b [u8], len: usize) -> Option<Self> {
        (bytes.len() == len).then_some(Self(bytes))
    }

    /// The next field. The fields of a form add up to its length, so there is always enough.
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_at(N);
        self.0 = rest;
        field.try_into().expect("split at its length")
    }

    /// The next byte as yes or no; `None` if it is neither.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.take() {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}
