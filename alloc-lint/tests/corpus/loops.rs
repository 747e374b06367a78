//! Collections that are filled and dropped in each turn, and their fixes.
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};

fn vec_pushed_bad(rows: &[Row]) -> u64 {
    let mut sum = 0;
    for row in rows {
        let mut values = Vec::new(); //~ rebuilt Vec
        for cell in row.cells() {
            values.push(cell.value());
        }
        values.sort_unstable();
        sum += values[values.len() / 2];
    }
    sum
}

fn vec_pushed_good(rows: &[Row]) -> u64 {
    let mut sum = 0;
    let mut values = Vec::new();
    for row in rows {
        values.clear();
        for cell in row.cells() {
            values.push(cell.value());
        }
        values.sort_unstable();
        sum += values[values.len() / 2];
    }
    sum
}

fn vec_with_capacity_bad(rows: &[Row]) -> usize {
    let mut most = 0;
    for row in rows {
        let mut values: Vec<u64> = Vec::with_capacity(row.len()); //~ rebuilt Vec
        values.extend(row.cells().map(|cell| cell.value()));
        most = most.max(distinct(&mut values));
    }
    most
}

fn vec_without_capacity_good(rows: &[Row]) {
    for row in rows {
        let nothing: Vec<u64> = Vec::with_capacity(0);
        let none: Vec<u64> = vec![];
        let empty = Vec::<u64>::new();
        row.compare(&nothing, &none, &empty);
    }
}

fn vec_macro_bad(file: &mut File) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let mut buffer = vec![0_u8; 8192]; //~ rebuilt Vec
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(total);
        }
        total += sum(&buffer[..read]);
    }
}

fn vec_macro_good(file: &mut File) -> io::Result<u64> {
    let mut total = 0;
    let mut buffer = vec![0_u8; 8192];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(total);
        }
        total += sum(&buffer[..read]);
    }
}

fn string_line_bad(input: &mut impl BufRead) -> io::Result<usize> {
    let mut words = 0;
    loop {
        let mut line = String::new(); //~ rebuilt String
        if input.read_line(&mut line)? == 0 {
            break;
        }
        words += line.split_whitespace().count();
    }
    Ok(words)
}

fn string_line_good(input: &mut impl BufRead) -> io::Result<usize> {
    let mut words = 0;
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        words += line.split_whitespace().count();
        line.clear();
    }
    Ok(words)
}

fn hash_map_bad(documents: &[Document]) -> usize {
    let mut most = 0;
    for document in documents {
        let mut counts: HashMap<&str, usize> = HashMap::new(); //~ rebuilt HashMap
        for word in document.words() {
            *counts.entry(word).or_default() += 1;
        }
        most = most.max(counts.len());
    }
    most
}

fn hash_map_good(documents: &[Document]) -> usize {
    let mut most = 0;
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for document in documents {
        counts.clear();
        for word in document.words() {
            *counts.entry(word).or_default() += 1;
        }
        most = most.max(counts.len());
    }
    most
}

fn hash_set_from_bad(lists: &[Vec<u64>], wanted: u64) -> usize {
    let mut hits = 0;
    let mut number = 0;
    while number < lists.len() {
        let set = HashSet::<u64>::from_iter(lists[number].iter().copied()); //~ rebuilt HashSet
        hits += usize::from(set.contains(&wanted));
        number += 1;
    }
    hits
}

fn hash_set_from_good(lists: &[HashSet<u64>], wanted: u64) -> usize {
    lists.iter().filter(|set| set.contains(&wanted)).count()
}

fn hash_set_of_constants_bad(words: &[&str]) -> usize {
    let mut stops = 0;
    for word in words {
        let stop_words = HashSet::from(["a", "an", "the"]); //~ rebuilt HashSet
        stops += usize::from(stop_words.contains(word));
    }
    stops
}

fn hash_set_of_constants_good(words: &[&str]) -> usize {
    static STOP_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| HashSet::from(["a", "an", "the"]));
    let mut stops = 0;
    for word in words {
        stops += usize::from(STOP_WORDS.contains(word));
    }
    stops
}

fn hoistable_bad(config: &Config, users: &[User]) -> usize {
    let mut allowed = 0;
    for user in users {
        let groups: HashSet<&str> = config.groups.iter().map(String::as_str).collect(); //~ rebuilt HashSet
        allowed += usize::from(groups.contains(user.group()));
    }
    allowed
}

fn hoistable_good(config: &Config, users: &[User]) -> usize {
    let groups: HashSet<&str> = config.groups.iter().map(String::as_str).collect();
    let mut allowed = 0;
    for user in users {
        allowed += usize::from(groups.contains(user.group()));
    }
    allowed
}

fn btree_map_bad(days: &[Day]) {
    for day in days {
        let mut by_hour = BTreeMap::new(); //~ rebuilt BTreeMap
        for event in day.events() {
            by_hour.insert(event.hour(), event);
        }
        print_first(by_hour.iter().next());
    }
}

fn btree_set_bad(days: &[Day]) {
    for day in days {
        let hours: BTreeSet<u8> = day.events().map(|event| event.hour()).collect(); //~ rebuilt BTreeSet
        report(hours.first(), hours.last());
    }
}

fn btree_kept_good(days: &[Day]) -> BTreeMap<u32, BTreeSet<u8>> {
    let mut all = BTreeMap::new();
    for day in days {
        let hours: BTreeSet<u8> = day.events().map(|event| event.hour()).collect();
        all.insert(day.number(), hours);
    }
    all
}

fn deque_bad(graphs: &[Graph]) -> usize {
    let mut visited = 0;
    for graph in graphs {
        let mut queue = VecDeque::from([graph.root()]); //~ rebuilt VecDeque
        while let Some(node) = queue.pop_front() {
            visited += 1;
            queue.extend(graph.children(node));
        }
    }
    visited
}

fn deque_good(graphs: &[Graph]) -> usize {
    let mut visited = 0;
    let mut queue = VecDeque::new();
    for graph in graphs {
        queue.push_back(graph.root());
        while let Some(node) = queue.pop_front() {
            visited += 1;
            queue.extend(graph.children(node));
        }
    }
    visited
}

fn heap_bad(batches: &[Batch]) {
    for batch in batches {
        let mut heap = BinaryHeap::with_capacity(batch.len()); //~ rebuilt BinaryHeap
        batch.items().for_each(|item| heap.push(item.cost()));
        emit(heap.pop());
    }
}

fn nested_bad(orders: &[Order]) {
    for order in orders {
        // One finding, at the outermost: what is put in goes with it.
        let mut by_shop: HashMap<u32, Vec<u64>> = HashMap::new(); //~ rebuilt HashMap
        for line in order.lines() {
            let mut prices = Vec::new();
            prices.push(line.price());
            by_shop.insert(line.shop(), prices);
        }
        ship(&by_shop);
    }
}

fn in_two_loops_bad(table: &Table) -> usize {
    let mut cells = 0;
    'rows: for row in table.rows() {
        for cell in row {
            let key = format!("{}/{}", row.name(), cell.name()); //~ rebuilt String
            if key.len() > 80 {
                continue 'rows;
            }
            cells += 1;
        }
    }
    cells
}

fn aliased_bad(lists: &[Vec<u64>]) -> usize {
    use std::collections::HashSet as Set;
    type Ids = std::collections::BTreeSet<u64>;
    let mut sum = 0;
    for list in lists {
        let set = Set::from_iter(list); //~ rebuilt HashSet
        let ids = Ids::from_iter(list.iter().copied()); //~ rebuilt BTreeSet
        sum += set.len() + ids.len();
    }
    sum
}

fn of_another_type_good(lists: &[Vec<u64>]) -> usize {
    let mut sum = 0;
    for list in lists {
        let arena = bump::Bump::new();
        let small = SmallVec::<[u64; 8]>::new();
        sum += arena.sum(list) + small.len();
    }
    sum
}

fn short_lived_pointer_bad(items: &[Item]) {
    for item in items {
        let boxed = Box::new(item.weight()); //~ rebuilt Box
        look_at(&boxed);
    }
}

fn shared_pointer_good(items: &[Item], senders: &[Sender<Arc<Item>>]) {
    for (item, sender) in items.iter().zip(senders) {
        let shared = Arc::new(item.weight());
        sender.send(shared);
    }
}
