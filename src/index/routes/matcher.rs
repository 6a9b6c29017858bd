//! Which route takes a request: a tree of path segments for each host.
//!
//! The most specific route wins: first by host (exact, then the longest suffix, then any), then by path from its first segment
//! on (literal, then capture, then rest), then by method (its own, then any). The search goes in that order, so that the first
//! route found is the one; two that are equal in all of it can't be saved.

use std::collections::HashMap;
use std::sync::Arc;

use crate::domain::route::path::{BadPath, CheckedPath, cut};
use crate::domain::route::pattern::{MAX_HOST, PathTemplate, Segment, normal_host};

use super::RouteRecord;

/// A route that takes a request.
#[derive(Debug)]
pub struct Matched<'t, 'p> {
    /// The route.
    pub route: &'t Arc<RouteRecord>,
    /// The request's path.
    pub path: CheckedPath<'p>,
}

#[derive(Debug, Default)]
pub(super) struct Matcher {
    exact: HashMap<Box<[u8]>, usize>,
    /// By suffix, with its dot.
    suffixes: HashMap<Box<[u8]>, usize>,
    any: Option<usize>,
    nodes: Vec<Node>,
    routes: Vec<Arc<RouteRecord>>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<[u8]>, usize>,
    capture: Option<usize>,
    /// Routes that end here.
    end: Leaf,
    /// Routes that take whatever comes after this.
    rest: Leaf,
}

/// Routes of one shape, by method.
#[derive(Debug, Default)]
struct Leaf {
    by_method: Vec<(Box<[u8]>, usize)>,
    any: Option<usize>,
}

impl Leaf {
    fn pick(&self, method: &[u8]) -> Option<usize> {
        let own = self.by_method.iter().find(|(own, _)| **own == *method);
        own.map(|(_, route)| *route).or(self.any)
    }

    fn put(&mut self, methods: &[String], route: usize) {
        if methods.is_empty() {
            self.any.get_or_insert(route);
        }
        let methods = methods.iter().map(|m| (m.as_bytes().into(), route));
        self.by_method.extend(methods);
    }
}

impl Matcher {
    pub(super) fn new<'r>(routes: impl Iterator<Item = &'r Arc<RouteRecord>>) -> Self {
        let mut matcher = Self::default();
        for route in routes {
            let at = matcher.routes.len();
            matcher.routes.push(route.clone());
            matcher.put(route, at);
        }
        matcher
    }

    fn put(&mut self, route: &RouteRecord, at: usize) {
        let settings = &route.settings;
        let templates = settings.templates();
        let mut roots = Vec::with_capacity(settings.hosts.len().max(1));
        for host in &settings.hosts {
            let (map, text) = match host.suffix() {
                Some(suffix) => (&mut self.suffixes, suffix),
                None => (&mut self.exact, host.as_str()),
            };
            let nodes = &mut self.nodes;
            roots.push(
                *map.entry(text.as_bytes().into())
                    .or_insert_with(|| grow(nodes)),
            );
        }
        if settings.hosts.is_empty() {
            roots.push(*self.any.get_or_insert_with(|| grow(&mut self.nodes)));
        }
        for root in roots {
            for template in &templates {
                self.put_path(root, template, &settings.methods, at);
            }
        }
    }

    fn put_path(&mut self, root: usize, template: &PathTemplate, methods: &[String], at: usize) {
        let mut node = root;
        for segment in template.segments() {
            let next = self.nodes.len();
            let Some(here) = self.nodes.get_mut(node) else {
                return;
            };
            node = match segment {
                Segment::Literal(text) => {
                    *here.literals.entry(text.as_bytes().into()).or_insert(next)
                }
                Segment::Capture(_) => *here.capture.get_or_insert(next),
                Segment::Rest(_) => {
                    here.rest.put(methods, at);
                    return;
                }
            };
            if node == next {
                self.nodes.push(Node::default());
            }
        }
        if let Some(here) = self.nodes.get_mut(node) {
            here.end.put(methods, at);
        }
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
        let mut search = Search {
            nodes: &self.nodes,
            method,
            parameters: path.has_parameters,
            hidden: false,
        };
        let found = self
            .roots(host)
            .find_map(|root| search.walk(root, path.rest()));
        if search.hidden {
            return Err(BadPath::Parameters);
        }
        let route = found.and_then(|at| self.routes.get(at));
        Ok(route.map(|route| Matched { route, path }))
    }

    /// The trees that a host leads to, the most specific first.
    fn roots(&self, host: &[u8]) -> impl Iterator<Item = usize> {
        let below = (!self.suffixes.is_empty())
            .then(|| suffixes(host))
            .into_iter()
            .flatten();
        let below = below.filter_map(|suffix| self.suffixes.get(suffix).copied());
        let exact = (!self.exact.is_empty()).then(|| self.exact.get(host).copied());
        exact.flatten().into_iter().chain(below).chain(self.any)
    }
}

fn grow(nodes: &mut Vec<Node>) -> usize {
    nodes.push(Node::default());
    nodes.len() - 1
}

/// What stands after each label of a host, with its dot; the longest first.
pub(super) fn suffixes(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = host
        .iter()
        .enumerate()
        .filter(|(at, b)| **b == b'.' && *at > 0);
    dots.filter_map(|(at, _)| host.get(at..))
}

struct Search<'t, 'm> {
    nodes: &'t [Node],
    method: &'m [u8],
    /// Whether a segment of the path has a `;`.
    parameters: bool,
    /// Whether parameters hid a literal: some servers would see it.
    hidden: bool,
}

impl Search<'_, '_> {
    fn walk(&mut self, at: usize, rest: Option<&[u8]>) -> Option<usize> {
        let node = self.nodes.get(at)?;
        let Some(rest) = rest else {
            return node
                .end
                .pick(self.method)
                .or_else(|| node.rest.pick(self.method));
        };
        let (segment, after) = cut(rest);
        if !node.literals.is_empty() {
            if let Some(child) = node.literals.get(segment)
                && let Some(found) = self.walk(*child, after)
            {
                return Some(found);
            }
            if self.parameters && hides(node, segment) {
                self.hidden = true;
                return None;
            }
        }
        if let Some(child) = node.capture
            && let Some(found) = self.walk(child, after)
        {
            return Some(found);
        }
        node.rest.pick(self.method)
    }
}

fn hides(node: &Node, segment: &[u8]) -> bool {
    let end = segment.iter().position(|b| *b == b';');
    end.and_then(|end| segment.get(..end))
        .is_some_and(|name| node.literals.contains_key(name))
}

#[cfg(test)]
mod tests;
