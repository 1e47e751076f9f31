//! What an `ALTER TABLE` may do to a table that others use: each of its actions is looked at
//! (<https://www.postgresql.org/docs/15/sql-altertable.html>).

/// What follows `ADD` where it is no column.
const CONSTRAINTS: [&str; 6] = ["CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "EXCLUDE"];
/// What takes something away, or makes another thing of it: the release before may still use it.
const CONTRACTIONS: [&str; 4] = ["DROP", "RENAME", "DETACH", "SET SCHEMA"];
/// The same, of a column.
const OF_COLUMN: [&str; 5] =
    [" TYPE ", " SET NOT NULL", " DROP DEFAULT", " DROP IDENTITY", " DROP EXPRESSION"];

/// What is wrong with a statement; empty: nothing.
pub(super) fn problems(statement: &str, says_who_is_needed: bool, outside: bool) -> Vec<String> {
    let of = |action: &String| {
        let (verb, rest) = action.split_once(' ').unwrap_or((action, ""));
        let rest = rest.strip_prefix("COLUMN ").unwrap_or(rest);
        let rest = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest);
        let is_constraint =
            CONSTRAINTS.contains(&rest.split([' ', '(']).next().unwrap_or_default());
        match verb {
            _ if takes_away(action) && !says_who_is_needed => {
                vec!["takes away without `UPDATE meta SET needs = …`"]
            }
            "ADD" if is_constraint => of_constraint(rest).into_iter().collect(),
            "ADD" => of_column(rest),
            "VALIDATE" if !outside => vec!["begin the file with `-- no-transaction`"],
            _ => Vec::new(),
        }
    };
    let problems = actions(statement).iter().flat_map(of).collect::<Vec<_>>();
    problems.into_iter().map(|problem| format!("{problem}:{statement}")).collect()
}

fn takes_away(action: &str) -> bool {
    CONTRACTIONS.iter().any(|it| action.starts_with(it))
        || action.starts_with("ALTER ") && OF_COLUMN.iter().any(|it| action.contains(it))
}

fn of_constraint(added: &str) -> Option<&'static str> {
    let is_checked_later = added.contains(" NOT VALID") || added.contains(" USING INDEX ");
    (!is_checked_later)
        .then_some("add it NOT VALID (or USING INDEX), validate it in a later migration")
}

fn of_column(added: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    let has = |word: &str| added.contains(word);
    if has(" NOT NULL") && !has(" DEFAULT ") {
        problems.push("the release before inserts no such column");
    }
    let default = added.split(" DEFAULT ").nth(1).unwrap_or_default();
    if default.contains('(') || has(" GENERATED ") || has("SERIAL") {
        problems.push("a value that is computed rewrites the table");
    }
    if [" REFERENCES ", " UNIQUE", " PRIMARY KEY", " CHECK "].iter().any(|it| has(it)) {
        problems.push("is checked for every row under a lock");
    }
    problems
}

/// The actions of a statement, without its table.
fn actions(statement: &str) -> Vec<String> {
    let words = statement.split_whitespace().skip(2);
    let mut words = words.skip_while(|word| ["IF", "EXISTS", "ONLY"].contains(word));
    words.next();
    let text: String = words.flat_map(|word| [word, " "]).collect();
    let (mut actions, mut depth) = (vec![String::new()], 0);
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                actions.push(String::new());
                continue;
            }
            _ => {}
        }
        actions.last_mut().expect("there is one").push(letter);
    }
    actions.iter().map(|action| format!("{} ", action.trim())).collect()
}
