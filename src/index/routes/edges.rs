//! The literals of all nodes of a tree in one table: from a node by a text to another node.
//!
//! Open addressing: an edge is one entry with its text in it, unless that is a long one, so that a step waits for memory once.
//! What is in the table administrators wrote; a client can't choose where its requests land but among that, so that no secret
//! is needed.

/// Most bytes of a text that is kept in its edge: with them an edge has 32, two in a line of memory.
const SHORT: usize = 22;

/// From which node, by which text, to which node.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Edge {
    from: u32,
    to: u32,
    text: Text,
}

/// What an edge says.
#[derive(Debug, Clone, Copy)]
enum Text {
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    /// A part of what all long ones say.
    Long {
        from: u32,
        len: u32,
    },
}

#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Their number is a power of two, or none; at most half of them are taken.
    slots: Vec<Option<Edge>>,
    taken: usize,
    /// What long edges say, one behind the other.
    long: Vec<u8>,
}

impl Edges {
    /// Where an edge leads.
    pub(super) fn get(&self, from: u32, text: &[u8]) -> Option<u32> {
        for at in self.probe(hash(from, text)) {
            let edge = (*self.slots.get(at)?).as_ref()?;
            if edge.from == from && self.text(&edge.text) == text {
                return Some(edge.to);
            }
        }
        None
    }

    /// Puts an edge in, unless there is one; returns where that leads.
    pub(super) fn put(&mut self, from: u32, text: &[u8], to: u32) -> u32 {
        if let Some(known) = self.get(from, text) {
            return known;
        }
        let text = self.keep(text);
        let edge = Edge { from, to, text };
        if self.taken * 2 >= self.slots.len() {
            let wider = (self.slots.len() * 2).max(16);
            let before = std::mem::replace(&mut self.slots, vec![None; wider]);
            for edge in before.into_iter().flatten() {
                self.place(edge);
            }
        }
        self.place(edge);
        self.taken += 1;
        to
    }

    fn keep(&mut self, text: &[u8]) -> Text {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(room), Ok(len)) => {
                room.copy_from_slice(text);
                Text::Short { len, bytes }
            }
            _ => {
                let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                let (from, len) = (number(self.long.len()), number(text.len()));
                self.long.extend_from_slice(text);
                Text::Long { from, len }
            }
        }
    }

    fn place(&mut self, edge: Edge) {
        let hash = hash(edge.from, self.text(&edge.text));
        let free = self
            .probe(hash)
            .find(|at| self.slots.get(*at).is_some_and(Option::is_none));
        if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
            *slot = Some(edge);
        }
    }

    fn text<'t>(&'t self, text: &'t Text) -> &'t [u8] {
        let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let found = match text {
            Text::Short { len, bytes } => bytes.get(..usize::from(*len)),
            Text::Long { from, len } => {
                let from = number(*from);
                self.long.get(from..from.saturating_add(number(*len)))
            }
        };
        found.unwrap_or_default()
    }

    /// The places to look at, in order.
    fn probe(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let len = self.slots.len();
        // The high bits: a multiplication mixes upward.
        let first = usize::try_from(hash >> 32).unwrap_or_default();
        (0..len).map(move |step| first.wrapping_add(step) & len.wrapping_sub(1))
    }
}

/// Mixes eight bytes at a time, as `FxHash` does.
fn hash(from: u32, text: &[u8]) -> u64 {
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(SEED);
    let length = u64::try_from(text.len()).unwrap_or_default();
    let mut hash = mix(u64::from(from), length);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let hash = mix(hash, u64::from_le_bytes(last));
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_edges_are_in_a_line_of_memory() {
        assert_eq!(size_of::<Option<Edge>>(), 32);
    }

    #[test]
    fn an_edge_leads_from_its_node_by_its_text_alone() {
        let mut edges = Edges::default();
        assert_eq!(edges.get(0, b"a"), None);
        // As long as fits in an edge, shorter, and longer.
        let name = |n: u32| {
            format!(
                "segment-{n}{}",
                "-of-more".repeat(usize::try_from(n % 4).unwrap())
            )
        };
        for n in 0..5_000 {
            assert_eq!(edges.put(n % 7, name(n).as_bytes(), n), n);
            // Put again it leads where it did.
            assert_eq!(edges.put(n % 7, name(n).as_bytes(), n + 1), n);
        }
        for n in 0..5_000 {
            for from in 0..8 {
                let expected = (from == n % 7).then_some(n);
                assert_eq!(edges.get(from, name(n).as_bytes()), expected);
            }
        }
        for text in [&b""[..], b"segment-", b"segment-5000", b"segment-0\0"] {
            assert_eq!(edges.get(0, text), None);
        }
    }
}
