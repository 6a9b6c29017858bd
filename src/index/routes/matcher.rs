//! Which route takes a request: a tree of path segments for each host.
//!
//! The most specific route wins: first by host (exact, then the longest suffix, then any), then by path from its first segment
//! on (literal, then capture, then rest), then by method (its own, then any). The search goes in that order, so that the first
//! route found is the one; two that are equal in all of it can't be saved.
//!
//! What a match costs are the lines of memory that it waits for. So nodes are small and in one list, all literals of all nodes
//! are in one table, and methods are compared as numbers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::route::path::{BadPath, CheckedPath, cut};
use crate::domain::route::pattern::{MAX_HOST, PathTemplate, Segment, normal_host};

use super::RouteRecord;
use super::edges::Edges;

/// A route that takes a request.
#[derive(Debug)]
pub struct Matched<'t, 'p> {
    /// The route.
    pub route: &'t Arc<RouteRecord>,
    /// The request's path.
    pub path: CheckedPath<'p>,
}

/// The place of a node, of a method, or of a route.
type Place = u32;

#[derive(Debug, Default)]
pub(super) struct Matcher {
    exact: HashMap<Box<[u8]>, Place>,
    /// By suffix, with its dot.
    suffixes: HashMap<Box<[u8]>, Place>,
    any: Option<Place>,
    nodes: Vec<Node>,
    edges: Edges,
    /// Routes of nodes with several of one shape, those in a row.
    leaves: Vec<Leaf>,
    methods: Vec<Box<[u8]>>,
    routes: Vec<Arc<RouteRecord>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    /// Whether it has children by literal.
    literals: bool,
    capture: Option<Place>,
    /// Routes that end here.
    end: Leaves,
    /// Routes that take whatever comes after this.
    rest: Leaves,
}

/// Routes of one shape: one almost always, which then stands in the node.
#[derive(Debug, Clone, Copy, Default)]
enum Leaves {
    #[default]
    None,
    One(Leaf),
    /// Some of the list of all, in a row.
    Several {
        from: Place,
        len: Place,
    },
}

/// A route, for one method or for any.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    method: Option<Place>,
    route: Place,
}

/// A node while the tree grows.
#[derive(Debug, Default)]
struct Growing {
    literals: bool,
    capture: Option<Place>,
    end: Vec<Leaf>,
    rest: Vec<Leaf>,
}

#[derive(Debug, Default)]
struct Growth {
    matcher: Matcher,
    nodes: Vec<Growing>,
}

impl Growth {
    fn root(&mut self, host: Option<&str>) -> Place {
        let next = place(self.nodes.len());
        let root = match host {
            None => *self.matcher.any.get_or_insert(next),
            Some(host) => {
                let (map, text) = match host.strip_prefix('*') {
                    Some(suffix) => (&mut self.matcher.suffixes, suffix),
                    None => (&mut self.matcher.exact, host),
                };
                *map.entry(text.as_bytes().into()).or_insert(next)
            }
        };
        self.grow(root);
        root
    }

    /// Makes the node of this place if it is the next one.
    fn grow(&mut self, at: Place) {
        if at == place(self.nodes.len()) {
            self.nodes.push(Growing::default());
        }
    }

    fn put(&mut self, route: &Arc<RouteRecord>) {
        let at = place(self.matcher.routes.len());
        self.matcher.routes.push(route.clone());
        let settings = &route.settings;
        let mut leaves: Vec<_> = Vec::with_capacity(settings.methods.len().max(1));
        for method in &settings.methods {
            let method = Some(self.method(method.as_bytes()));
            leaves.push(Leaf { method, route: at });
        }
        if leaves.is_empty() {
            leaves.push(Leaf {
                method: None,
                route: at,
            });
        }
        let mut roots: Vec<_> = Vec::with_capacity(settings.hosts.len().max(1));
        for host in &settings.hosts {
            roots.push(self.root(Some(host.as_str())));
        }
        if roots.is_empty() {
            roots.push(self.root(None));
        }
        let templates = settings.templates();
        for root in roots {
            for template in &templates {
                self.put_path(root, template, &leaves);
            }
        }
    }

    fn method(&mut self, method: &[u8]) -> Place {
        let methods = &mut self.matcher.methods;
        let known = methods.iter().position(|own| **own == *method);
        place(known.unwrap_or_else(|| {
            methods.push(method.into());
            methods.len() - 1
        }))
    }

    fn put_path(&mut self, root: Place, template: &PathTemplate, leaves: &[Leaf]) {
        let mut at = root;
        for segment in template.segments() {
            let next = place(self.nodes.len());
            let Some(here) = self.nodes.get_mut(index(at)) else {
                return;
            };
            at = match segment {
                Segment::Literal(text) => {
                    here.literals = true;
                    self.matcher.edges.put(at, text.as_bytes(), next)
                }
                Segment::Capture(_) => *here.capture.get_or_insert(next),
                Segment::Rest(_) => {
                    here.rest.extend(leaves);
                    return;
                }
            };
            self.grow(at);
        }
        if let Some(here) = self.nodes.get_mut(index(at)) {
            here.end.extend(leaves);
        }
    }

    fn grown(self) -> Matcher {
        let mut matcher = self.matcher;
        let row = |leaves: Vec<Leaf>, all: &mut Vec<Leaf>| match *leaves {
            [] => Leaves::None,
            [one] => Leaves::One(one),
            _ => {
                let (from, len) = (place(all.len()), place(leaves.len()));
                all.extend(leaves);
                Leaves::Several { from, len }
            }
        };
        for node in self.nodes {
            matcher.nodes.push(Node {
                literals: node.literals,
                capture: node.capture,
                end: row(node.end, &mut matcher.leaves),
                rest: row(node.rest, &mut matcher.leaves),
            });
        }
        matcher
    }
}

impl Matcher {
    pub(super) fn new<'r>(routes: impl Iterator<Item = &'r Arc<RouteRecord>>) -> Self {
        let mut growth = Growth::default();
        for route in routes {
            growth.put(route);
        }
        growth.grown()
    }

    pub(super) fn find<'t, 'p>(
        &'t self,
        host: &[u8],
        method: &[u8],
        path: &'p [u8],
    ) -> Result<Option<Matched<'t, 'p>>, BadPath> {
        // A tunnel has no path.
        if method == b"CONNECT" || path.is_empty() {
            return Ok(None);
        }
        // `OPTIONS *` asks about the server, not about anything on it.
        if method == b"OPTIONS" && path == b"*" {
            return Ok(None);
        }
        let path = CheckedPath::check(path)?;
        let mut buffer = [0; MAX_HOST];
        let host = normal_host(host, &mut buffer);
        let own = self.methods.iter().position(|own| **own == *method);
        let mut search = Search {
            matcher: self,
            method: own.map(place),
            parameters: path.has_parameters,
            hidden: false,
        };
        let found = self
            .roots(host)
            .find_map(|root| search.walk(root, path.rest()));
        if search.hidden {
            return Err(BadPath::Parameters);
        }
        let route = found.and_then(|at| self.routes.get(index(at)));
        Ok(route.map(|route| Matched { route, path }))
    }

    /// The trees that a host leads to, the most specific first.
    fn roots(&self, host: &[u8]) -> impl Iterator<Item = Place> {
        let below = (!self.suffixes.is_empty())
            .then(|| suffixes(host))
            .into_iter()
            .flatten();
        let below = below.filter_map(|suffix| self.suffixes.get(suffix).copied());
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(host).copied());
        exact.flatten().into_iter().chain(below).chain(self.any)
    }

    fn row<'t>(&'t self, leaves: &'t Leaves) -> &'t [Leaf] {
        match leaves {
            Leaves::None => &[],
            Leaves::One(one) => std::slice::from_ref(one),
            Leaves::Several { from, len } => {
                let from = index(*from);
                let row = self.leaves.get(from..from + index(*len));
                row.unwrap_or_default()
            }
        }
    }
}

/// As few as there may be, places fit.
fn place(at: usize) -> Place {
    Place::try_from(at).unwrap_or(Place::MAX)
}

fn index(at: Place) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// What stands after each label of a host, with its dot; the longest first.
pub(super) fn suffixes(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = host
        .iter()
        .enumerate()
        .filter(|(at, b)| **b == b'.' && *at > 0);
    dots.filter_map(|(at, _)| host.get(at..))
}

struct Search<'t> {
    matcher: &'t Matcher,
    /// The request's method, where some route asks for it.
    method: Option<Place>,
    /// Whether a segment of the path has a `;`.
    parameters: bool,
    /// Whether parameters hid a literal: some servers would see it.
    hidden: bool,
}

impl Search<'_> {
    fn walk(&mut self, at: Place, rest: Option<&[u8]>) -> Option<Place> {
        let node = self.matcher.nodes.get(index(at))?;
        let Some(rest) = rest else {
            return self.pick(&node.end).or_else(|| self.pick(&node.rest));
        };
        let (segment, after) = cut(rest);
        if node.literals {
            if let Some(child) = self.matcher.edges.get(at, segment)
                && let Some(found) = self.walk(child, after)
            {
                return Some(found);
            }
            if self.parameters && self.hides(at, segment) {
                self.hidden = true;
                return None;
            }
        }
        if let Some(child) = node.capture
            && let Some(found) = self.walk(child, after)
        {
            return Some(found);
        }
        self.pick(&node.rest)
    }

    /// A route for the request's method, else one for any.
    fn pick(&self, leaves: &Leaves) -> Option<Place> {
        let leaves = self.matcher.row(leaves);
        let of = |method: Option<Place>| leaves.iter().find(|leaf| leaf.method == method);
        let own = self.method.and_then(|method| of(Some(method)));
        own.or_else(|| of(None)).map(|leaf| leaf.route)
    }

    fn hides(&self, at: Place, segment: &[u8]) -> bool {
        let end = segment.iter().position(|b| *b == b';');
        let name = end.and_then(|end| segment.get(..end));
        name.is_some_and(|name| self.matcher.edges.get(at, name).is_some())
    }
}

#[cfg(test)]
mod tests;
