//! Just enough of DER: to ask for a certificate, and to read one.

pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// The names in a certificate for which it holds.
pub(super) const NAMES_OID: &[u8] = &[0x55, 0x1d, 0x11];

/// What stands in brackets in a definition, with more inside.
pub(super) const fn tagged(number: u8) -> u8 {
    0xa0 | number
}

pub(super) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut all = vec![tag];
    let length = contents.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    match (digits, contents.len()) {
        (_, short @ 0..=127) => all.push(u8::try_from(short).unwrap_or_default()),
        (digits, _) => {
            all.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
            all.extend(digits);
        }
    }
    all.extend(contents);
    all
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// Elements one after the other. What is cut off or longer than it may be is no element.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Reader<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let digits = usize::from(first & 0x7f);
            if !(1..=4).contains(&digits) || rest.len() < digits {
                return None;
            }
            let (digits, rest) = rest.split_at(digits);
            (digits.iter().fold(0, |n, byte| n << 8 | usize::from(*byte)), rest)
        };
        if rest.len() < length {
            return None;
        }
        let (contents, rest) = rest.split_at(length);
        self.0 = rest;
        Some((*tag, contents))
    }
}

impl<'a> Reader<'a> {
    /// The contents of the next element, if it is of that kind.
    pub(super) fn of(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.next().filter(|(is, _)| *is == tag).map(|(_, contents)| Reader(contents))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_of_all_kinds_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let contents = vec![7; length];
            let whole = element(OCTETS, &contents);
            assert_eq!(Reader(&whole).next(), Some((OCTETS, contents.as_slice())), "{length}");
            assert_eq!(Reader(&whole[..whole.len() - 1]).next(), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_it(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            Reader(&bytes).count();
        }
    }
}
