//! Values that leave the turn or the request they are made in: none of these is a candidate.

fn returned(rows: &[Row]) -> Vec<Vec<u64>> {
    rows.iter().map(|row| row.cells().collect::<Vec<u64>>()).collect()
}

fn pushed(rows: &[Row], all: &mut Vec<Vec<u64>>) {
    for row in rows {
        let mut cells = Vec::new();
        for cell in row.cells() {
            cells.push(cell);
        }
        all.push(cells);
    }
}

fn moved_twice(rows: &[Row], all: &mut Vec<Vec<u64>>) {
    for row in rows {
        let cells: Vec<u64> = row.cells().collect();
        let sorted = cells;
        let row = Entry { cells: sorted, name: row.name() };
        all.push(row);
    }
}

fn taken_out(lines: &[Line], all: &mut Vec<String>) {
    for line in lines {
        let mut text = String::new();
        for word in line.words() {
            text.push_str(word);
            if word.ends_with('.') {
                all.push(std::mem::take(&mut text));
            }
        }
    }
}

fn sent(rows: &[Row], sender: &Sender<Vec<u64>>) {
    for row in rows {
        let cells: Vec<u64> = row.cells().collect();
        sender.send(cells);
    }
}

impl Cache {
    fn stored(&mut self, rows: &[Row]) {
        for row in rows {
            self.last = row.cells().collect::<Vec<u64>>();
            let name = row.name().to_string();
            self.names.entry(name).or_insert_with(|| vec![0; 16]);
        }
    }

    #[track_memory(request)]
    fn bounded(&mut self, key: u64, text: &str) -> &Vec<u64> {
        if !self.entries.contains_key(&key) {
            let parsed: Vec<u64> = text.split(',').filter_map(|part| part.parse().ok()).collect();
            self.entries.insert(key, parsed);
        }
        &self.entries[&key]
    }
}

fn to_threads(parts: &[Part]) {
    for part in parts {
        let work: Vec<u64> = part.items().collect();
        std::thread::spawn(move || work.iter().sum::<u64>());
    }
}

async fn per_connection(listener: Listener) -> io::Result<()> {
    loop {
        let (mut socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut buffer = vec![0; 4096];
            loop {
                let read = socket.read(&mut buffer).await?;
                socket.write_all(&buffer[..read]).await?;
            }
        });
    }
}

#[track_memory(request)]
async fn answered(store: &Store, page: u32) -> Result<Json<Vec<String>>, Error> {
    let mut names = Vec::with_capacity(50);
    for row in store.page(page).await? {
        names.push(row.name);
    }
    Ok(Json(names))
}

#[track_memory(request)]
fn answered_by_text(user: &User) -> String {
    let greeting = format!("hello, {}", user.name);
    greeting
}

fn assigned_outside(lines: &[&str]) -> String {
    let mut longest = String::new();
    for line in lines {
        if line.len() > longest.len() {
            longest = line.to_string();
        }
    }
    longest
}

fn handed_over(rows: &[Row], table: &mut Table) {
    for row in rows {
        let name = row.name().to_string();
        table.add_row(name, vec![0; row.len()]);
    }
}

fn in_a_struct(rows: &[Row]) -> Vec<Record> {
    let mut records = Vec::new();
    for row in rows {
        let mut record = Record::default();
        record.name = row.name().to_string();
        record.cells = row.cells().collect::<Vec<_>>();
        records.push(record);
    }
    records
}

fn broken_out(sources: &[Source]) -> Option<Vec<u8>> {
    let found = loop {
        let Some(source) = next(sources) else { break None };
        if source.is_ready() {
            break Some(source.bytes().to_vec());
        }
    };
    found
}

fn yielded(rows: &[Row]) -> impl Iterator<Item = String> {
    rows.iter().map(|row| {
        let name = row.name().to_string();
        name
    })
}

fn swapped(rounds: &[Round]) -> Vec<u64> {
    let mut current = Vec::new();
    for round in rounds {
        let mut next = Vec::new();
        for value in &current {
            next.push(round.step(value));
        }
        std::mem::swap(&mut current, &mut next);
    }
    current
}

fn assigned_to_outer(rounds: &[Round]) -> Vec<u64> {
    let mut current: Vec<u64> = Vec::new();
    for round in rounds {
        let next: Vec<u64> = current.iter().map(|value| round.step(value)).collect();
        current = next;
    }
    current
}

fn in_an_unknown_macro(rows: &[Row]) {
    for row in rows {
        let cells: Vec<u64> = row.cells().collect();
        register!(row.name() => cells);
    }
}
