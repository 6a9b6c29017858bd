//! How much entropy a token made elsewhere seems to have.

/// Estimated entropy of a token in bits.
pub fn estimate_bits(token: &[u8]) -> u32 {
    u32::try_from(token.len() * 4).unwrap_or(u32::MAX)
}
