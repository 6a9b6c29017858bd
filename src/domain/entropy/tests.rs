//! The table of vectors, and the rate of false alarms.

use super::*;
use crate::domain::token::STRONG_BITS;

/// A generator that says the same on every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of(&mut self, alphabet: &[u8], len: usize) -> String {
        let mut one = || char::from(alphabet[(self.next() >> 20) as usize % alphabet.len()]);
        (0..len).map(|_| one()).collect()
    }

    fn uuid(&mut self, version: u128) -> String {
        let random = u128::from(self.next()) << 64 | u128::from(self.next());
        let fixed = random & !(0xf << 76) & !(3 << 62) | version << 76 | 2 << 62;
        uuid::Uuid::from_u128(fixed).hyphenated().to_string()
    }
}

const HEX: &[u8] = b"0123456789abcdef";
const UPPER_HEX: &[u8] = b"0123456789ABCDEF";
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE62: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[test]
fn random_tokens_are_strong_in_at_least_995_of_1000_cases() {
    type Make = fn(&mut Numbers) -> String;
    let kinds: [(&str, Make); 9] = [
        ("32 hex digits", |n| n.of(HEX, 32)),
        ("32 upper-case hex digits", |n| n.of(UPPER_HEX, 32)),
        ("26 base32 characters", |n| n.of(BASE32, 26)),
        ("21 base62 characters", |n| n.of(BASE62, 21)),
        ("22 base64 characters", |n| n.of(BASE64, 22)),
        ("22 base64url characters", |n| n.of(BASE64_URL, 22)),
        ("a UUIDv4", |n| n.uuid(4)),
        ("a prefix and 24 base62 characters", |n| {
            format!("sk_live_{}", n.of(BASE62, 24))
        }),
        ("43 base64 characters", |n| n.of(BASE64, 43)),
    ];
    for (kind, make) in kinds {
        let mut numbers = Numbers(2_026);
        let tokens: Vec<String> = (0..2_000).map(|_| make(&mut numbers)).collect();
        let weak = tokens
            .iter()
            .filter(|t| estimate_bits(t.as_bytes()) < STRONG_BITS)
            .count();
        assert!(
            weak <= 10,
            "{kind}: {weak} of 2000 random tokens found weak"
        );
    }
}

#[test]
fn vectors_of_random_tokens_are_strong() {
    for token in [
        "9f86d081884c7d659a2feaa0c55ad015",
        "3E25960A79DBC69B674CD4EC67A72C62",
        "q0Zk3vXw8yRt5LmNc1Hd7A",
        "mF+7s/LxPq02VbYtKzWj4g",
        "x-T9_kQ2wLrB8vNd5HsJ0Q",
        "mF+7s/LxPq02VbYtKzWj4g==",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "7C9E6679-7425-40DE-944B-E07FC1F90AE7",
        "16fd2706-8baf-433b-82eb-8c7fada847da",
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "xoxb-pT4w9LkZ2sVb7QyN1cXr8J",
        "QX7KP-2M9RD-W4HTB-N6VZC-8GJ3F",
        "Kp#9v!Lz@4Qx$7Wm%2Rt^8",
        "8141592653589720484626433832795019",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ.kP3Vd9XbQw7LmZ2sT5yRc8HnJ1fGa4uEoI6tBxCvN0M",
    ] {
        let bits = estimate_bits(token.as_bytes());
        assert!(bits >= STRONG_BITS, "{token}: {bits}");
    }
}

#[test]
fn vectors_of_guessable_tokens_are_weak() {
    for token in [
        // Too short for its class, or of one character.
        "",
        "a",
        "Tr0ub4dor&3-xkcd",
        "0123456789abcdef",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "53718093726412957088640591830467", // 32 decimal digits: 106 bits
        // Passwords and words.
        "P@ssw0rd!P@ssw0rd!2024",
        "Summer2024!Winter2025?Autumn",
        "correcthorsebatterystaple",
        "correct-horse-battery-staple",
        "CorrectHorseBatteryStaple1!",
        "the_quick_brown_fox_jumps_over_the_lazy_dog",
        "IchWillEinenSicherenSchluesselHaben",
        "letmein-admin-root-secret-token",
        "john.smith@example.com.password",
        "sk_live_production_secret_key_for_acme",
        "MyCompanyIntegrationKeyForProduction2023",
        "thisisaverylongpassphrasethatnobodywillguess",
        // Sequences, keyboard rows, runs, repeated blocks.
        "abc123def456ghi789jkl012mno345",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "zyxwvutsrqponmlkjihgfedcba",
        "qwertyuiopasdfghjklzxcvbnm1234567890",
        "poiuytrewqlkjhgfdsamnbvcxz",
        "0123456789abcdef0123456789abcdef",
        "deadbeefdeadbeefdeadbeefdeadbeef",
        "k7Qz9kk7Qz9kk7Qz9kk7Qz9kk7Qz9k",
        "X4f9Lq2mX4f9Lq2mX4f9Lq2m",
        "abababababababababababababababababab",
        "user0001user0002user0003user0004",
        "11112222333344445555666677778888",
        // Times, counters, and numbers that hold them.
        "1700000000000000",
        "1700000000-1700000001-1700000002",
        "2024-01-31T23:59:59.123456Z",
        "20240131-19991231-20010911-20200229",
        "0000000000000000000000000000002a",
        "00000000000000000000018bcfe56800",
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "c232ab00-9414-11ec-b3c8-9f6bdeced846",
        "c232ab00941411ecb3c89f6bdeced846",
        "1ec9414c-232a-6b00-b3c8-9f6bdeced846",
        "018f4e6a-7b1c-7d3e-9a5b-2c4d6e8f0a1b",
        "018f4e6a7b1c7d3e9a5b2c4d6e8f0a1b",
        "2ed6657d-e927-568b-95e1-2665a8aea6a2",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "00000000-0000-4000-8000-000000000000",
        "11111111-2222-4333-8444-555555555555",
        // Text under an encoding; a signed token without its signature.
        "dXNlcjpwYXNzd29yZDEyMzQ1Njc4OTA",
        "4d79506173737764466f7254686541504931",
        "YWRtaW46Y29ycmVjdGhvcnNlYmF0dGVyeQ==",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqb2UiLCJleHAiOjE3MDAwMDAwMDB9.",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJqb2UiLCJleHAiOjE3MDAwMDAwMDB9.c2lnbmF0dXJl",
        // A prefix says nothing.
        "sk_live_0123456789abcdefghij",
        "github_pat_test_a8Kq2Lz9",
    ] {
        let bits = estimate_bits(token.as_bytes());
        assert!(bits < STRONG_BITS, "{token}: {bits}");
    }
}

#[test]
fn plain_classes_count_their_bits() {
    for (token, bits) in [
        ("53718093726412957088640591830467", 106),
        ("9f86d081884c7d659a2feaa0c55ad015", 128),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", 122),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", 80),
        ("018f4e6a-7b1c-7d3e-9a5b-2c4d6e8f0a1b", 74),
    ] {
        let found = estimate_bits(token.as_bytes());
        assert!(
            bits - 4 <= found && found <= bits,
            "{token}: {found} of {bits}"
        );
    }
}

#[test]
fn any_bytes_are_estimated_without_a_fault() {
    let mut numbers = Numbers(7);
    let all: Vec<u8> = (0..=255).collect();
    for len in (0..64).chain([511, 512]) {
        let bytes: Vec<u8> = (0..len)
            .map(|_| all[(numbers.next() >> 30) as usize % 256])
            .collect();
        estimate_bits(&bytes);
        estimate_bits(&vec![b'-'; len]);
        estimate_bits(&vec![0xff; len]);
    }
}
