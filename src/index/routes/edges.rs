//! The literals of all nodes of a tree in one table: from a node by a text to another node.
//!
//! Open addressing: an edge is one entry, and what it says is in one text, so that a step waits for memory twice. What is in
//! the table administrators wrote; a client can't choose where its requests land but among that, so that no secret is needed.

/// From which node, by which text, to which node.
#[derive(Debug, Clone, Copy)]
struct Edge {
    hash: u64,
    from: u32,
    to: u32,
    text: u32,
    len: u32,
}

#[derive(Debug, Default)]
pub(super) struct Edges {
    /// Their number is a power of two, or none; at most half of them are taken.
    slots: Vec<Option<Edge>>,
    taken: usize,
    texts: Vec<u8>,
}

impl Edges {
    /// Where an edge leads.
    pub(super) fn get(&self, from: u32, text: &[u8]) -> Option<u32> {
        let at = self.find(hash(from, text), from, text)?;
        self.slots.get(at)?.map(|edge| edge.to)
    }

    /// Puts an edge in, unless there is one; returns where that leads.
    pub(super) fn put(&mut self, from: u32, text: &[u8], to: u32) -> u32 {
        if let Some(known) = self.get(from, text) {
            return known;
        }
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let edge = Edge {
            hash: hash(from, text),
            from,
            to,
            text: number(self.texts.len()),
            len: number(text.len()),
        };
        self.texts.extend_from_slice(text);
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

    fn place(&mut self, edge: Edge) {
        let free = self
            .probe(edge.hash)
            .find(|at| self.slots.get(*at).is_some_and(Option::is_none));
        if let Some(slot) = free.and_then(|at| self.slots.get_mut(at)) {
            *slot = Some(edge);
        }
    }

    fn find(&self, hash: u64, from: u32, text: &[u8]) -> Option<usize> {
        for at in self.probe(hash) {
            let edge = (*self.slots.get(at)?)?;
            if edge.hash == hash && edge.from == from && self.text(edge) == text {
                return Some(at);
            }
        }
        None
    }

    fn text(&self, edge: Edge) -> &[u8] {
        let number = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let from = number(edge.text);
        self.texts
            .get(from..from.saturating_add(number(edge.len)))
            .unwrap_or_default()
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
    fn an_edge_leads_from_its_node_by_its_text_alone() {
        let mut edges = Edges::default();
        assert_eq!(edges.get(0, b"a"), None);
        let name = |n: u32| format!("segment-{n}");
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
