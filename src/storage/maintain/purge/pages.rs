//! Unused parts of the pages of a database file, in SQLite's format
//! (<https://www.sqlite.org/fileformat2.html>).

use std::{iter, ops::Range};

/// Kinds of pages of a B-tree, with the length of their headers.
const KINDS: [(u8, usize); 4] = [(2, 12), (5, 12), (10, 8), (13, 8)];
/// Length of the header of the file, on its first page.
const FILE_HEADER: usize = 100;

fn number(page: &[u8], at: usize) -> Option<usize> {
    let bytes = page.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
}

/// Unused parts of a page of a B-tree: between the pointers and the cells, and those that deleted cells left.
/// `None` for another page.
pub fn unused(page: &[u8], is_first: bool) -> Option<Vec<Range<usize>>> {
    let begin = if is_first { FILE_HEADER } else { 0 };
    let kind = *page.get(begin)?;
    let (_, header) = KINDS.into_iter().find(|(known, _)| *known == kind)?;
    let cells = number(page, begin + 3)?;
    let content = match number(page, begin + 5)? {
        0 => 65_536,
        content => content,
    };
    let pointers = begin + header + 2 * cells;
    let mut unused: Vec<_> = iter::once(pointers..content).collect();
    let mut block = number(page, begin + 1)?;
    while block != 0 {
        let (next, size) = (number(page, block)?, number(page, block + 2)?);
        unused.push(block + 4..block + size.max(4));
        if next != 0 && next <= block {
            return None; // They come in order.
        }
        block = next;
    }
    unused.iter().all(|part| part.start <= part.end && part.end <= page.len()).then_some(unused)
}

/// Places of one of some texts in a page.
pub fn find(page: &[u8], texts: &[Vec<u8>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for text in texts {
        let places = page.windows(text.len()).enumerate().filter(|(_, window)| window == text);
        found.extend(places.map(|(place, _)| place..place + text.len()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leaf with one cell at its end, a deleted one before it, and the rest unused.
    #[test]
    fn unused_parts_lie_around_the_cells() {
        let mut page = vec![7; 64];
        page[..8].copy_from_slice(&[13, 0, 40, 0, 1, 0, 40, 0]);
        page[40..44].copy_from_slice(&[0, 0, 0, 12]);
        assert_eq!(unused(&page, false), Some(vec![10..40, 44..52]));
        page[0] = 0;
        assert_eq!(unused(&page, false), None);
    }
}
