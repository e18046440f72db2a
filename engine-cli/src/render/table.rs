//! Tables without borders, aligned as Go's tabwriter aligns docker's: columns at least ten wide, three spaces apart.

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

/// Aligns the text, whose lines are cells that end in tabs; what follows a line's last tab is of no column.
///
/// As in Go, a column is a run of lines that all have a cell there: a line without one ends it, and the next begins
/// another with a width of its own.
pub(crate) fn align(text: &str) -> String {
    align_from(text, MIN_WIDTH)
}

/// The same with columns that are at least `least` wide.
pub(crate) fn align_from(text: &str, least: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    block(&lines, least, &mut Vec::new(), &mut out);
    out
}

/// Writes lines of which the columns left of `widths.len()` have those widths.
fn block(lines: &[Vec<&str>], least: usize, widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has_cell = |line: &Vec<&str>| line.len() > column + 1;
    let mut rest = lines;
    while !rest.is_empty() {
        let without = rest.iter().position(has_cell).unwrap_or(rest.len());
        let (plain, after) = rest.split_at(without);
        plain.iter().for_each(|line| write(line, widths, out));
        let with = after.iter().position(|line| !has_cell(line)).unwrap_or(after.len());
        let (run, next) = after.split_at(with);
        if !run.is_empty() {
            let widest =
                run.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
            widths.push(widest.map_or(least, |widest| (widest + PADDING).max(least)));
            block(run, least, widths, out);
            widths.pop();
        }
        rest = next;
    }
}

fn write(line: &[&str], widths: &[usize], out: &mut String) {
    for (i, cell) in line.iter().enumerate() {
        out.push_str(cell);
        if let Some(width) = widths.get(i) {
            out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ten_wide_and_three_apart() {
        assert_eq!(
            align("REPOSITORY\tTAG\tIMAGE ID\tSIZE\nreg.local:5000/x/y\t2\t8c78b5ff00d0\t1.98MB\n"),
            "REPOSITORY           TAG       IMAGE ID       SIZE\n\
             reg.local:5000/x/y   2         8c78b5ff00d0   1.98MB\n"
        );
    }

    #[test]
    fn the_last_cell_is_not_padded_and_an_empty_one_is() {
        assert_eq!(align("A\tB\tC\na\t\tc\n"), "A         B         C\na                   c\n");
        assert_eq!(align("A\tB\na\t\n"), "A         B\na         \n");
    }

    #[test]
    fn characters_are_counted_not_bytes() {
        assert_eq!(align("\"sh -c 'é…\"\tx\nCOMMAND\ty\n"), "\"sh -c 'é…\"   x\nCOMMAND       y\n");
    }

    #[test]
    fn a_line_without_the_column_ends_it() {
        assert_eq!(
            align("a-long-first-cell\tx\nalone\nb\ty\n"),
            "a-long-first-cell   x\nalone\nb         y\n"
        );
    }
}
