//! A child process: its output line by line, its end, and no leftovers.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A running process. Killed when dropped.
pub(crate) struct Child {
    pid: u32,
    end: Receiver<ExitStatus>,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts it; its standard output and error go to files of these names, and to the logs that are returned.
    pub(crate) fn start(command: &mut Command, out: &Path, err: &Path) -> (Self, Log, Log) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {command:?}: {e}"));
        let pid = child.id();
        let out = Log::follow(child.stdout.take().unwrap(), out);
        let err = Log::follow(child.stderr.take().unwrap(), err);
        let (tell, end) = channel();
        thread::spawn(move || {
            let _ = tell.send(child.wait().unwrap());
        });
        let this = Self {
            pid,
            end,
            ended: None,
        };
        (this, out, err)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal (`TERM`, `KILL`, `STOP`, `CONT`).
    pub(crate) fn signal(&mut self, name: &str) {
        assert!(
            self.ended().is_none(),
            "the process has ended before {name}"
        );
        let sent = Command::new("bash")
            .args(["-c", &format!("kill -{name} {}", self.pid)])
            .status()
            .unwrap();
        assert!(sent.success(), "can't send {name} to {}", self.pid);
        if name == "STOP" {
            let deadline = Instant::now() + PATIENCE;
            while !self.has_stopped() {
                assert!(Instant::now() < deadline, "{} does not stop", self.pid);
                thread::yield_now();
            }
        }
    }

    /// Whether every thread stands still: a thread that runs on another core takes notice a little later.
    fn has_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).unwrap();
        let states = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")));
        states.flatten().all(|stat| {
            // The name before the state may itself hold a parenthesis.
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('T'))
        })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.end.try_recv().ok();
        }
        self.ended
    }

    /// How it ended, if it does within this time.
    pub(crate) fn ended_within(&mut self, time: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.end.recv_timeout(time).ok();
        }
        self.ended
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        if self.ended.is_none() {
            match self.end.recv_timeout(PATIENCE) {
                Ok(status) => self.ended = Some(status),
                Err(_) => panic!("process {} does not end", self.pid),
            }
        }
        self.ended.unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = Command::new("bash")
                .args(["-c", &format!("kill -KILL {}", self.pid)])
                .status();
            let _ = self.end.recv_timeout(PATIENCE);
        }
    }
}

/// The lines of an output.
pub(crate) struct Log {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Log {
    fn follow(from: impl Read + Send + 'static, copy: &Path) -> Self {
        let mut copy = File::create(copy).unwrap();
        let (tell, lines) = channel();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                copy.write_all(&line).unwrap();
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                let _ = tell.send(text);
                line.clear();
            }
        });
        Self {
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits for a line from which `pick` makes something; lines that were seen before count too.
    pub(crate) fn wait<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(|l| pick(l)) {
            return found;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = pick(&line);
                    self.seen.push(line);
                    if let Some(found) = found {
                        return found;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("{what} did not come in time; the log:\n{}", self.text())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{what} did not come; the log:\n{}", self.text())
                }
            }
        }
    }

    /// All lines up to the end of the output: the process must have ended.
    pub(crate) fn rest(&mut self) -> String {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        self.text()
    }

    /// What `pick` makes of a line that was waited for, or came before it.
    pub(crate) fn seen<T>(&self, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.seen.iter().find_map(|l| pick(l))
    }

    /// All lines up to now.
    pub(crate) fn so_far(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.text()
    }

    fn text(&self) -> String {
        self.seen.join("\n")
    }
}
