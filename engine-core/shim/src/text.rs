//! Text made of pieces and numbers, without format strings.

use alloc::string::String;

/// Text being put together.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    /// Appends words.
    pub(crate) fn push(&mut self, words: &str) -> &mut Text {
        self.0.push_str(words);
        self
    }

    /// Appends a number in decimal digits.
    pub(crate) fn number(&mut self, number: i64) -> &mut Text {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut rest = number.unsigned_abs();
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            self.0.push('-');
        }
        self.0.extend(digits[at..].iter().map(|digit| char::from(*digit)));
        self
    }

    #[cfg(any(feature = "program", test))]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        for (number, text) in [
            (0, "0"),
            (7, "7"),
            (-1, "-1"),
            (i64::MAX, "9223372036854775807"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(Text::default().number(number).as_str(), text);
        }
    }
}
