//! Chains of iterators: what is collected to be gone through, and closures that run for each element.

fn collected_to_count_bad(lines: &[String]) -> usize {
    let mut most = 0;
    for line in lines {
        let parts: Vec<&str> = line.split(',').collect(); //~ rebuilt Vec
        most = most.max(parts.len());
    }
    most
}

fn counted_good(lines: &[String]) -> usize {
    let mut most = 0;
    for line in lines {
        most = most.max(line.split(',').count());
    }
    most
}

fn collected_to_go_through_bad(lines: &[String]) {
    for line in lines {
        for part in line.split(',').collect::<Vec<_>>() { //~ rebuilt Vec
            emit(part);
        }
    }
}

fn collected_to_go_through_good(lines: &[String]) {
    for line in lines {
        for part in line.split(',') {
            emit(part);
        }
    }
}

fn fallible_bad(lines: &[String]) -> Result<u64, ParseIntError> {
    let mut sum = 0;
    for line in lines {
        let numbers = line.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>()?; //~ rebuilt Vec
        sum += numbers[0];
    }
    Ok(sum)
}

fn in_map_bad(lines: &[String]) -> Vec<usize> {
    lines.iter().map(|line| line.split(',').collect::<HashSet<_>>().len()).collect() //~ rebuilt HashSet
}

fn in_for_each_bad(lines: &[String]) {
    lines.par_iter().for_each(|line| {
        let mut sorted: Vec<char> = line.chars().collect(); //~ rebuilt Vec
        sorted.sort_unstable();
        emit(&sorted);
    });
}

fn in_fold_bad(lines: &[String]) -> usize {
    lines.iter().fold(0, |sum, line| {
        let upper: String = line.chars().rev().collect(); //~ rebuilt String
        sum + score(&upper)
    })
}

fn in_flat_map_bad(lines: &[String]) -> usize {
    lines.iter().flat_map(|line| line.split(',').collect::<Vec<_>>()).count() //~ rebuilt Vec
}

fn in_flat_map_good(lines: &[String]) -> usize {
    lines.iter().flat_map(|line| line.split(',')).count()
}

fn sort_key_bad(users: &mut [User]) {
    users.sort_by_key(|user| user.name.to_string()); //~ rebuilt String
}

fn sort_key_good(users: &mut [User]) {
    users.sort_by(|a, b| a.name.cmp(&b.name));
}

async fn stream_bad(stream: impl Stream<Item = Message>) -> usize {
    stream
        .filter(|message| {
            let words: Vec<&str> = message.text().split(' ').collect(); //~ rebuilt Vec
            ready(words.len() > 3)
        })
        .count()
        .await
}

async fn for_each_concurrent_bad(stream: impl Stream<Item = Message>) {
    stream
        .for_each_concurrent(8, |message| async move {
            let mut buffer = vec![0; 1024]; //~ rebuilt Vec
            message.write_to(&mut buffer).await;
        })
        .await;
}

fn retained_bad(names: &mut Vec<String>, banned: &HashSet<String>) {
    names.retain(|name| !banned.contains(&name.trim().to_string())); //~ rebuilt String
}

/// `map` of an `Option` is no loop.
fn option_good(name: Option<&str>) -> usize {
    let shown = name.map(|name| name.to_string()).unwrap_or_default();
    let first = [1, 2].iter().find(|number| **number > 1).map(|number| format!("{number}"));
    shown.len() + first.map_or(0, |text| text.len())
}

fn option_in_loop_bad(names: &[Option<&str>]) -> usize {
    let mut sum = 0;
    for name in names {
        let shown = name.map(|name| name.to_string()); //~ rebuilt String
        sum += shown.as_ref().map_or(0, |text| text.len());
    }
    sum
}

fn extended_bad(lists: &[List], all: &mut Vec<u64>) {
    for list in lists {
        all.extend(list.items().map(|item| item.id()).collect::<Vec<_>>()); //~ rebuilt Vec
    }
}

fn extended_good(lists: &[List], all: &mut Vec<u64>) {
    for list in lists {
        all.extend(list.items().map(|item| item.id()));
    }
}

fn collected_once_good(lines: &[String]) -> usize {
    let parts: Vec<&str> = lines.iter().flat_map(|line| line.split(',')).collect();
    for part in parts.iter().collect::<Vec<_>>() {
        emit(part);
    }
    parts.len()
}
