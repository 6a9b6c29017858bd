//! How much entropy a token made elsewhere seems to have.
//!
//! An upper bound from what can be seen: each measure says how many bits would describe the token if its weakness were
//! known, and the lowest counts. So a measure can only take away, and a token that none of them finds fault with counts its
//! length times the bits of its character class. Integers only (1/256 bit), so that every machine says the same.
//!
//! Random tokens of 122 bits and more are found weak in fewer than 1 of 200 cases; `tests` fixes that, and a table of
//! vectors. No measure can see that a well-mixed token was made by a poor generator: that is the issuer's word.

mod shape;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use shape::{decoded_text, jwt_signature, ulid, uuid, without_grouping, without_labels};

/// One bit, in the units of this file.
const ONE: u32 = 256;
/// What it takes to describe a run, a sequence or a repetition beside its first character: kind, length, place.
const STRUCTURE: u32 = 4 * ONE;
/// A common word: its number in a dictionary of everyday words, and its spelling.
const WORD: u32 = 11 * ONE;
/// A day or second of the last decades.
const MOMENT: u32 = 16 * ONE;
/// A character of running text.
const TEXT: u32 = 2 * ONE;

const ROWS: [&[u8]; 4] = [b"qwertyuiop", b"asdfghjkl", b"zxcvbnm", b"1234567890"];

/// Pairs of letters that make up four fifths of written English, and a seventh of random letters.
const BIGRAMS: &[u8] = b"thheineranreonatenndtiesorteofedisitalarsttontngsehaasouioleve\
comedehiriroicnearaceclichllbemasiomurcaeltalansdifohopeecprnoctusacotiltrlyncetutsssorsunlowageiewheewiemad\
olrtpowenaultsmoowpaimmiaishirsuidosiaamplevryorckogsafr";

const WORDS: &str = "able about access account acme active admin administrator after again alpha amazon android animal apple april \
arrow august auth autumn azure back banana baseball battery beta black blue book bottle brown business button \
captain castle change cheese chicken cloud coffee company computer connect correct customer data database \
default demo dev develop diamond doctor dragon eagle example family father flower football freedom friend \
garden gold google green hello home horse house hunter integration internal january july june killer letmein \
letter light local login london love magic manager march market master message micro monday money monkey \
monster morning mother mountain music mustang network night november october office orange partner pass \
passphrase password people pepper phone platform prince princess private prod production project public purple \
queen random river root sample school secret secure security september server service shadow silver simple \
spring staging staple star start steel stone summer sunday sunshine super system team temp test thunder tiger \
time token tree trust user victory water web welcome white windows winter work world yellow your";

/// The words by their first letter: a set of keys that moves in has many tokens, and every place of one may begin a word.
static BY_INITIAL: LazyLock<[Vec<&str>; 26]> = LazyLock::new(|| {
    let mut words: [Vec<&str>; 26] = Default::default();
    for word in WORDS.split(' ') {
        let initial = word.bytes().next().and_then(letter);
        if let Some(words) = initial.and_then(|i| words.get_mut(i)) {
            words.push(word);
        }
    }
    words
});

/// Which pairs of letters are common, by the first and the second.
static COMMON: LazyLock<[[bool; 26]; 26]> = LazyLock::new(|| {
    let mut common = [[false; 26]; 26];
    for pair in BIGRAMS.chunks_exact(2) {
        if let Some(place) = place_of(pair, |a, b| common.get_mut(a)?.get_mut(b)) {
            *place = true;
        }
    }
    common
});

/// The number of a letter in the alphabet.
fn letter(b: u8) -> Option<usize> {
    b.is_ascii_alphabetic()
        .then(|| usize::from(b.to_ascii_lowercase() - b'a'))
}

/// What belongs to a pair of letters.
fn place_of<T>(pair: &[u8], of: impl FnOnce(usize, usize) -> Option<T>) -> Option<T> {
    match pair {
        [a, b] => of(letter(*a)?, letter(*b)?),
        _ => None,
    }
}

/// Estimated entropy of a token in bits.
pub fn estimate_bits(token: &[u8]) -> u32 {
    estimate(token, true) / ONE
}

fn estimate(token: &[u8], decode: bool) -> u32 {
    let body = without_labels(token);
    if let Some(signature) = jwt_signature(body) {
        return estimate(signature, false);
    }
    if let Some((digits, cap)) = uuid(body).or_else(|| ulid(body)) {
        return cap.saturating_mul(ONE).min(measure(&digits));
    }
    let body = without_grouping(body);
    let own = measure(&body);
    match decoded_text(&body).filter(|_| decode) {
        Some(text) => own.min(estimate(&text, false)),
        None => own,
    }
}

/// The lowest of all measures.
fn measure(body: &[u8]) -> u32 {
    let Some(class) = Class::of(body) else {
        return 0;
    };
    let n = to_u32(body.len());
    let plain = class.composition(body).min(n * log2(class.size()));
    let each = plain / n.max(1);
    plain
        .min(collisions(body, class.size()))
        .min(plain.saturating_sub(steps(body, class.size(), each)))
        .min(plain.saturating_sub(text(body, class, each)))
        .min(structure(body, each))
}

/// How many digits, lower-case letters, upper-case letters and other characters a class of characters has.
#[derive(Clone, Copy)]
struct Class([u32; 4]);

impl Class {
    /// The smallest class that has all these characters.
    fn of(body: &[u8]) -> Option<Self> {
        let all = |ok: fn(&u8) -> bool| body.iter().all(ok);
        let sizes = if body.is_empty() {
            return None;
        } else if all(u8::is_ascii_digit) {
            [10, 0, 0, 0]
        } else if all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            [10, 6, 0, 0]
        } else if all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')) {
            [10, 0, 6, 0]
        } else if all(u8::is_ascii_lowercase) {
            [0, 26, 0, 0]
        } else if all(u8::is_ascii_uppercase) {
            [0, 0, 26, 0]
        } else if all(|b| matches!(b, b'2'..=b'7' | b'a'..=b'z')) {
            [6, 26, 0, 0]
        } else if all(|b| matches!(b, b'2'..=b'7' | b'A'..=b'Z')) {
            [6, 0, 26, 0]
        } else if all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z')) {
            [10, 26, 0, 0]
        } else if all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'Z')) {
            [10, 0, 26, 0]
        } else if all(u8::is_ascii_hexdigit) {
            // Hexadecimal in both cases: nobody throws a coin for each case, so it counts as 16 characters.
            [10, 3, 3, 0]
        } else if all(u8::is_ascii_alphanumeric) {
            [10, 26, 26, 0]
        } else if all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
            || all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            [10, 26, 26, 2]
        } else {
            [10, 26, 26, 32]
        };
        Some(Self(sizes))
    }

    fn size(self) -> u32 {
        self.0.iter().sum()
    }

    fn is_hex(self) -> bool {
        self.size() <= 16
    }

    /// Bits that describe which kind each character is of, and then which one of its kind.
    fn composition(self, body: &[u8]) -> u32 {
        let n = to_u32(body.len());
        let kind = |k: usize| to_u32(body.iter().filter(|b| kind_of(**b) == k).count());
        self.0
            .iter()
            .enumerate()
            .map(|(k, size)| match kind(k) {
                0 => 0,
                count => count * (log2(n).saturating_sub(log2(count)) + log2(*size)),
            })
            .sum()
    }
}

fn kind_of(b: u8) -> usize {
    match b {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    }
}

/// More equal pairs of characters than a random string has: it draws from fewer characters than its class.
fn collisions(body: &[u8], size: u32) -> u32 {
    let n = to_u32(body.len());
    let mut counts = [0_u32; 256];
    for b in body {
        if let Some(count) = counts.get_mut(usize::from(*b)) {
            *count += 1;
        }
    }
    let equal: u32 = counts.iter().map(|c| c * c.saturating_sub(1) / 2).sum();
    let pairs = n * n.saturating_sub(1) / 2;
    if improbable(equal, pairs, size, 5) {
        n * log2(pairs).saturating_sub(log2(equal))
    } else {
        u32::MAX
    }
}

/// More steps to a neighbour (`a` to `a`, `b` or `` ` ``) than a random string has; returns what they take away.
fn steps(body: &[u8], size: u32, each: u32) -> u32 {
    let near = |w: &[u8]| matches!(w, [a, b] if a.abs_diff(*b) <= 1);
    let hits = to_u32(body.windows(2).filter(|w| near(w)).count());
    if improbable(hits, 3 * to_u32(body.len()), size, 4) {
        hits * each.saturating_sub(TEXT)
    } else {
        0
    }
}

/// More pairs of letters of written language than a random string has; returns what they take away.
fn text(body: &[u8], class: Class, each: u32) -> u32 {
    if class.is_hex() {
        return 0;
    }
    let letters = |w: &&[u8]| w.iter().all(u8::is_ascii_alphabetic);
    let table = &*COMMON;
    let common = |w: &&[u8]| place_of(w, |a, b| table.get(a)?.get(b).copied()).unwrap_or(false);
    let pairs = body.windows(2).filter(letters);
    let (all, hits) = pairs.fold((0, 0), |(all, hits), w| {
        (all + 1, hits + u32::from(common(&w)))
    });
    if improbable(hits, all, 6, 4) {
        all * each.saturating_sub(TEXT)
    } else {
        0
    }
}

/// Whether so many hits are that many standard deviations and more above what `tries` with a chance of 1 in `one_in` give.
fn improbable(hits: u32, tries: u32, one_in: u32, deviations: u64) -> bool {
    let [hits, tries, one_in] = [hits, tries, one_in].map(u64::from);
    let excess = (one_in * hits).saturating_sub(tries + one_in);
    excess * excess > deviations * deviations * one_in * tries
}

/// Bits that describe the string from left to right, wherever possible by a structure instead of its characters.
fn structure(body: &[u8], each: u32) -> u32 {
    let (mut at, mut bits) = (0, 0_u32);
    while at < body.len() {
        let (done, rest) = body.split_at_checked(at).unwrap_or((body, &[]));
        let best = [
            (stepping(rest), each + STRUCTURE),
            (on_a_row(rest), each + STRUCTURE),
            (repeated(done, rest), log2(to_u32(at.max(1))) + STRUCTURE),
            (word(rest), WORD),
            (date(rest), MOMENT),
            (timestamp(done, rest), MOMENT),
        ]
        .into_iter()
        .filter(|(len, cost)| *len >= 4 && to_u32(*len) * each > *cost)
        .max_by_key(|(len, cost)| to_u32(*len) * each - cost);
        let (len, cost) = best.unwrap_or((1, each));
        bits = bits.saturating_add(cost);
        at += len;
    }
    bits
}

/// Length of a run (`aaaa`) or sequence (`abcd`, `4321`) at the start, without regard to case.
fn stepping(rest: &[u8]) -> usize {
    let signed = |b: &u8| i16::from(b.to_ascii_lowercase());
    let by = |step: i16| {
        let pairs = rest.windows(2);
        1 + pairs
            .take_while(|w| matches!(w, [a, b] if signed(b) - signed(a) == step))
            .count()
    };
    by(0).max(by(1)).max(by(-1))
}

/// Length of a walk along a row of the keyboard at the start, in either direction.
fn on_a_row(rest: &[u8]) -> usize {
    let Some(first) = rest.first().map(u8::to_ascii_lowercase) else {
        return 0;
    };
    let common = |row: &mut dyn Iterator<Item = &u8>| {
        row.zip(rest)
            .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
            .count()
    };
    // No key is on two rows, nor twice on one.
    let place = |row: &&[u8]| row.iter().position(|key| *key == first);
    ROWS.iter()
        .find_map(|row| Some((row, place(row)?)))
        .map_or(0, |(row, at)| {
            let back = row.len() - 1 - at;
            common(&mut row.iter().skip(at)).max(common(&mut row.iter().rev().skip(back)))
        })
}

/// Length of what stood before already, without regard to case.
fn repeated(done: &[u8], rest: &[u8]) -> usize {
    let Some(first) = rest.first() else {
        return 0;
    };
    let from = |i: usize| {
        let earlier = done.iter().chain(rest).skip(i);
        earlier
            .zip(rest)
            .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
            .count()
    };
    done.iter()
        .enumerate()
        .filter(|(_, b)| b.eq_ignore_ascii_case(first))
        .map(|(i, _)| from(i))
        .max()
        .unwrap_or(0)
}

/// Length of a common word at the start; digits and signs that stand for letters count as those.
fn word(rest: &[u8]) -> usize {
    let plain = |b: &u8| match b.to_ascii_lowercase() {
        b'0' => b'o',
        b'1' | b'!' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' => b't',
        other => other,
    };
    let fits = |w: &&&str| w.len() <= rest.len() && w.bytes().zip(rest).all(|(a, b)| a == plain(b));
    let words = rest.first().and_then(|b| BY_INITIAL.get(letter(plain(b))?));
    let lengths = words.into_iter().flatten().filter(fits).map(|w| w.len());
    lengths.max().unwrap_or(0)
}

/// Length of a date at the start: year, month, day or day, month, year, with or without separators.
fn date(rest: &[u8]) -> usize {
    let number = |at: usize, len: usize| number(rest.get(at..at.checked_add(len)?)?);
    let sign = |at: usize| rest.get(at).is_some_and(|b| b"-./_:".contains(b));
    let fits = |y: Option<u64>, m: Option<u64>, d: Option<u64>| {
        y.is_some_and(|y| (1_970..2_040).contains(&y))
            && m.is_some_and(|m| (1..=12).contains(&m))
            && d.is_some_and(|d| (1..=31).contains(&d))
    };
    if sign(4) && sign(7) && fits(number(0, 4), number(5, 2), number(8, 2))
        || sign(2) && sign(5) && fits(number(6, 4), number(3, 2), number(0, 2))
    {
        10
    } else if fits(number(0, 4), number(4, 2), number(6, 2))
        || fits(number(4, 4), number(2, 2), number(0, 2))
    {
        8
    } else {
        0
    }
}

/// Length of a Unix time in seconds, milliseconds or microseconds that stands for itself at the start.
fn timestamp(done: &[u8], rest: &[u8]) -> usize {
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let next_to = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let alone = !next_to(done.last()) && !next_to(rest.get(len));
    let seconds = rest.get(..10).and_then(number);
    let plausible = seconds.is_some_and(|s| (1_000_000_000..2_200_000_000).contains(&s));
    if alone && plausible && [10, 13, 16].contains(&len) {
        len
    } else {
        0
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let all = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| all)?
        .parse()
        .ok()
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Binary logarithm in 1/256, rounded down; 0 of 0.
fn log2(n: u32) -> u32 {
    let Some(whole) = n.checked_ilog2() else {
        return 0;
    };
    // Squaring a mantissa in [1, 2) shifts the next binary digit of its logarithm before the point.
    let mut mantissa = (u64::from(n) << 31) >> whole;
    let mut bits = whole;
    for _ in 0..8 {
        mantissa = (mantissa * mantissa) >> 31;
        let digit = u32::from(mantissa >= 1 << 32);
        mantissa >>= digit;
        bits = bits << 1 | digit;
    }
    bits
}
