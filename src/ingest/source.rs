//! Files of events as blocks of whole records.
use std::io::{self, Read};
use super::framing::{Framer, Style};
use crate::limits::BLOCK_BYTES;
pub struct Source { input: Box<dyn Read + Send>, framer: Framer, ended: bool }
impl Source {
    pub fn open(path: &std::path::Path) -> io::Result<Source> {
        Ok(Source { input: Box::new(std::fs::File::open(path)?), framer: Framer::new(Style::Lines), ended: false })
    }
    pub fn recycle(&mut self, block: Vec<u8>) { self.framer.recycle(block); }
    pub fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        while !self.ended {
            let space = self.framer.space(BLOCK_BYTES);
            let n = (&mut self.input).take(BLOCK_BYTES as u64).read_to_end(space)?;
            if n == 0 { self.ended = true; return Ok(self.framer.finish()); }
            if let Some(block) = self.framer.block() { return Ok(Some(block)); }
        }
        Ok(None)
    }
}
