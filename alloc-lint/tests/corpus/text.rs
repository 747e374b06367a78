//! Text made to be looked at, and its fixes.
use std::fmt::Write as _;

fn format_appended_bad(rows: &[Row], out: &mut String) {
    for row in rows {
        out.push_str(&format!("{}: {}\n", row.name, row.value)); //~ rebuilt String
        *out += &format!("{}\n", row.value); //~ rebuilt String
    }
}

fn format_appended_good(rows: &[Row], out: &mut String) -> fmt::Result {
    for row in rows {
        writeln!(out, "{}: {}", row.name, row.value)?;
    }
    Ok(())
}

fn format_key_bad(rows: &[Row], totals: &Totals) -> u64 {
    let mut sum = 0;
    for row in rows {
        let key = format!("{}:{}", row.shop, row.day); //~ rebuilt String
        sum += totals.get(&key);
    }
    sum
}

fn format_key_good(rows: &[Row], totals: &Totals) -> Result<u64, fmt::Error> {
    let mut sum = 0;
    let mut key = String::new();
    for row in rows {
        key.clear();
        write!(key, "{}:{}", row.shop, row.day)?;
        sum += totals.get(&key);
    }
    Ok(sum)
}

fn to_string_lookup_bad(names: &[&str], ages: &HashMap<String, u32>) -> u32 {
    let mut sum = 0;
    for name in names {
        sum += ages.get(&name.to_string()).copied().unwrap_or(0); //~ rebuilt String
    }
    sum
}

fn to_string_lookup_good(names: &[&str], ages: &HashMap<String, u32>) -> u32 {
    let mut sum = 0;
    for name in names {
        sum += ages.get(*name).copied().unwrap_or(0);
    }
    sum
}

fn to_string_compared_bad(names: &[&str], wanted: &str) -> usize {
    names.iter().filter(|name| name.to_string() == wanted).count() //~ rebuilt String
}

fn to_string_compared_good(names: &[&str], wanted: &str) -> usize {
    names.iter().filter(|name| **name == wanted).count()
}

fn to_owned_bad(lines: &[&str]) -> usize {
    let mut count = 0;
    for line in lines {
        let owned: String = "line ".to_owned() + line; //~ rebuilt String
        count += owned.len();
    }
    count
}

fn to_vec_bad(packets: &[&[u8]]) -> u32 {
    let mut sum = 0;
    for packet in packets {
        let copy = packet[4..].to_vec(); //~ rebuilt Vec
        sum ^= crc(&copy);
    }
    sum
}

fn to_vec_good(packets: &[&[u8]]) -> u32 {
    let mut sum = 0;
    for packet in packets {
        sum ^= crc(&packet[4..]);
    }
    sum
}

fn joined_bad(words: &[Vec<&str>]) -> usize {
    let mut longest = 0;
    for words in words {
        let shouted = words.iter().map(|word| word.trim()).collect::<Vec<_>>().join(" "); //~ rebuilt Vec
        longest = longest.max(shouted.len());
    }
    longest
}

fn names_kept_good(users: &[User]) -> Vec<String> {
    let mut names = Vec::new();
    for user in users {
        names.push(format!("{} {}", user.first, user.last));
        let name = user.first.to_string();
        names.push(name);
    }
    names
}

fn names_collected_good(users: &[User]) -> Vec<String> {
    users.iter().map(|user| format!("{} {}", user.first, user.last)).collect()
}

fn printed_bad(values: &[Value]) {
    for value in values {
        println!("{}", value.to_string()); //~ rebuilt String
    }
}

fn printed_good(values: &[Value]) {
    for value in values {
        println!("{value}");
    }
}

fn path_bad(root: &Path, names: &[String]) -> usize {
    let mut found = 0;
    for name in names {
        found += usize::from(root.join(format!("{name}.json")).exists()); //~ rebuilt String
    }
    found
}

fn eager_message_bad(parts: &[Option<u32>]) -> u32 {
    let mut sum = 0;
    for (number, part) in parts.iter().enumerate() {
        sum += part.expect(&format!("part {number} is there")); //~ rebuilt String
    }
    sum
}

fn lazy_message_good(parts: &[Option<u32>]) -> Result<u32, String> {
    let mut sum = 0;
    for (number, part) in parts.iter().enumerate() {
        sum += part.ok_or_else(|| format!("part {number} is missing"))?;
    }
    Ok(sum)
}
