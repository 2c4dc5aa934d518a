use crate::{
    Head, Limits,
    h2::{
        head::{Collector, HeadMeta, Judged, Line, Section},
        hpack::{
            BlockError, Token,
            dynamic_table::{DynamicTable, ENTRY_OVERHEAD_BYTES},
            huffman, integer, static_table,
        },
    },
};

/// The decoder of the header blocks that arrive on one connection (RFC 7541 section 3).
#[derive(Clone, Debug)]
pub struct Decoder {
    /// What is known of each line; the lines are the bytes.
    table: DynamicTable<Judged>,
    table_bytes_max: usize,
}

/// The representations of a field that are not an index (RFC 7541 section 6.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    Incremental,
    NeverIndexed,
    Unindexed,
}

// === impl Decoder ===

impl Decoder {
    /// `table_bytes_max` is the SETTINGS_HEADER_TABLE_SIZE that is announced to the peer.
    pub fn new(table_bytes_max: usize) -> Self {
        Self { table: DynamicTable::new(table_bytes_max), table_bytes_max }
    }

    /// Decodes one whole header block into `head`, whose former content goes, and checks it as a request, a response or
    /// trailers (RFC 9113 sections 8.2 and 8.3).
    ///
    /// The dynamic table is kept right even when the head is refused: the block is decoded to its end, but nothing of
    /// it is stored any more.
    ///
    /// # Errors
    /// See [`BlockError`]; `head` is empty then.
    pub fn decode(
        &mut self,
        block: &[u8],
        section: Section,
        limits: &Limits,
        head: &mut Head,
    ) -> Result<HeadMeta, BlockError> {
        head.clear();
        let mut collector = Collector::new(section, limits, head);
        let outcome = match collector.allows_block(block.len()) {
            Ok(()) => self.decode_fields(block, &mut collector).and_then(|()| collector.finish()),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            head.clear();
        }
        outcome
    }

    fn decode_fields(&mut self, block: &[u8], collector: &mut Collector<'_>) -> Result<(), BlockError> {
        let mut rest = self.read_size_updates(block)?;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                0x80.. => {
                    let index = integer::decode(*first, 7, &mut rest)?;
                    let (line, judged) = lookup(&self.table, index)?;
                    collector.copy_line(line, judged)?;
                }
                0x40..=0x7f => {
                    let index = integer::decode(*first, 6, &mut rest)?;
                    self.read_literal(index, Literal::Incremental, &mut rest, collector)?;
                }
                // A size update may only stand at the start of a block (RFC 7541 section 4.2).
                0x20..=0x3f => return Err(BlockError::Compression),
                0x10..=0x1f => {
                    let index = integer::decode(*first, 4, &mut rest)?;
                    self.read_literal(index, Literal::NeverIndexed, &mut rest, collector)?;
                }
                ..=0x0f => {
                    let index = integer::decode(*first, 4, &mut rest)?;
                    self.read_literal(index, Literal::Unindexed, &mut rest, collector)?;
                }
            }
        }
        Ok(())
    }

    /// Applies the size updates at the start of a block and returns what is behind them (RFC 7541 section 6.3).
    fn read_size_updates<'a>(&mut self, mut rest: &'a [u8]) -> Result<&'a [u8], BlockError> {
        while let [first @ 0x20..=0x3f, after @ ..] = rest {
            rest = after;
            let size = integer::decode(*first, 5, &mut rest)?;
            if size > self.table_bytes_max {
                return Err(BlockError::Compression);
            }
            self.table.set_limit(size);
        }
        Ok(rest)
    }

    fn read_literal(
        &mut self,
        name_index: usize,
        literal: Literal,
        rest: &mut &[u8],
        collector: &mut Collector<'_>,
    ) -> Result<(), BlockError> {
        let out = &mut collector.head.block;
        let start = out.len();
        let (token, name_defect) = if name_index == 0 {
            read_string(rest, out)?;
            let judged = Judged::name(out.get(start..).unwrap_or_default());
            if judged.0 == Token::AUTHORITY {
                out.truncate(start);
                out.extend_from_slice(b"host");
            }
            out.extend_from_slice(b": ");
            judged
        } else {
            let (line, judged) = lookup(&self.table, name_index)?;
            out.extend_from_slice(line.get(..judged.name_bytes as usize + 2).unwrap_or_default());
            (judged.token, judged.name_defect)
        };
        let value_start = out.len();
        read_string(rest, out)?;
        let value = out.get(value_start..).unwrap_or_default();
        let name_bytes = value_start - 2 - start;
        let value_defect = Judged::value(token, value);
        let known = token.known();
        let judged = Judged { token, known, name_defect, value_defect, name_bytes: name_bytes as u32 };
        let size = judged.name_octets() + value.len() + ENTRY_OVERHEAD_BYTES;
        out.extend_from_slice(b"\r\n");
        if literal == Literal::Incremental {
            self.table.insert([out.get(start..).unwrap_or_default(), b""], size, judged);
        }
        let line = Line { start, judged, never_indexed: literal == Literal::NeverIndexed };
        collector.take_line(line)
    }
}

impl Default for Decoder {
    /// With the table size that holds unless another is announced (RFC 9113 section 6.5.2).
    fn default() -> Self {
        Self::new(4096)
    }
}

/// The line at an index of both tables (RFC 7541 section 2.3.3).
#[inline]
fn lookup(table: &DynamicTable<Judged>, index: usize) -> Result<(&[u8], Judged), BlockError> {
    match index.checked_sub(static_table::ENTRIES + 1) {
        Some(age) => table.get(age).map(|(line, judged)| (line, *judged)),
        None => static_table::get(index).map(|entry| (entry.line, entry.judged)),
    }
    .ok_or(BlockError::Compression)
}

/// Appends a string literal (RFC 7541 section 5.2).
fn read_string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), BlockError> {
    let (first, after) = rest.split_first().ok_or(BlockError::Compression)?;
    *rest = after;
    let length = integer::decode(*first, 7, rest)?;
    let (string, after) = rest.split_at_checked(length).ok_or(BlockError::Compression)?;
    *rest = after;
    if first & 0x80 == 0 {
        out.extend_from_slice(string);
        Ok(())
    } else {
        huffman::decode(string, out)
    }
}

#[cfg(test)]
mod tests;
