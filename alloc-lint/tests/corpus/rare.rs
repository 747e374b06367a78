//! What is made seldom, or once: none of these is a candidate.

fn before_leaving(rows: &[Row]) -> Result<(), Error> {
    for row in rows {
        if row.is_broken() {
            let cells: Vec<String> = row.cells().map(|cell| cell.to_string()).collect();
            log(&cells.join(","));
            return Ok(());
        }
        if row.is_last() {
            let name = format!("{} is last", row.name());
            log(&name);
            break;
        }
    }
    Ok(())
}

fn errors(rows: &[Row]) -> Result<u64, Error> {
    let mut sum = 0;
    for row in rows {
        let value = row.value().map_err(|error| Error::new(&format!("row {}: {error}", row.name())))?;
        let more = row.more().ok_or_else(|| Error::new(&format!("row {} has no more", row.name())))?;
        let last = row.last().context(format!("row {}", row.name()))?;
        if value > 100 {
            return Err(Error::new(&format!("row {} is too large", row.name())));
        }
        if value == 99 {
            bail!("row {} is odd", row.name().to_string());
        }
        match row.check() {
            Ok(()) => sum += value + more + last,
            Err(error) => report(&format!("{error}")),
        }
        assert!(sum < 1 << 40, "sum of {} is too large", row.name());
        if let Err(error) = row.close() {
            let message = error.to_string();
            report(&message);
        }
        if sum == 17 {
            panic!("unlucky {}", row.name().to_string());
        }
    }
    Ok(sum)
}

fn said_of_errors(events: &[Event], errors: &mut Errors) -> u64 {
    let mut good = 0;
    for event in events {
        match event.kind() {
            Kind::Good => good += 1,
            _ => errors.report_error(ParseError::new(&format!("unexpected {event:?}"))),
        }
    }
    good
}

fn once(lines: &[&str]) -> usize {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\w+").unwrap());
    static LIMITS: OnceLock<Vec<u64>> = OnceLock::new();
    const NAMES: &[&str] = &["a", "b"];
    let mut count = 0;
    for line in lines {
        count += WORD.find_iter(line).count();
        count += LIMITS.get_or_init(|| (0..64).map(|bit| 1 << bit).collect::<Vec<u64>>()).len();
        count += NAMES.len();
    }
    count
}

fn all_at_once(parts: &[Part], rounds: usize) {
    for _ in 0..rounds {
        let threads: Vec<_> = parts.iter().map(|part| thread::spawn(|| part.run())).collect();
        for thread in threads {
            thread.join();
        }
    }
}

fn error_in_a_closure(rows: &[Row]) -> Result<(), Error> {
    for row in rows {
        row.each_cell(|cell| {
            if cell.is_odd() {
                let name = cell.name().to_string();
                return Err(Error::new(&name));
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn start_up(config: &Config) -> Server {
    let routes: HashMap<String, Route> = config.routes.iter().map(|route| (route.path.to_string(), route.clone())).collect();
    let names: Vec<String> = routes.keys().cloned().collect();
    println!("{}", names.join(", "));
    Server::new(routes)
}

fn debugging(rows: &[Row]) {
    for row in rows {
        #[cfg(feature = "debug")]
        show(&format!("{row:?}"));
        debug!("row {}", row.cells().map(|cell| cell.to_string()).collect::<Vec<_>>().join(","));
        debug_assert!(row.cells().collect::<Vec<_>>().is_sorted());
        if log_enabled!(Level::Trace) {
            let cells = format!("{:?}", row.cells());
            trace_it(&cells);
        }
    }
}

#[cold]
fn explain(rows: &[Row]) {
    for row in rows {
        println!("{}", format!("{}", row.name()));
    }
}

fn retried(client: &Client) -> Option<Answer> {
    loop {
        let mut body = Vec::new();
        client.read_to_end(&mut body);
        break parse(&body);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sums() {
        for number in 0..100 {
            let text = format!("{number}");
            assert_eq!(parse(&text), number);
        }
    }
}

fn shared(parts: &[Part], config: &Arc<Config>, sender: Sender<u64>) {
    for part in parts {
        let config = config.clone();
        let shared = Arc::clone(&config);
        let sender = sender.clone();
        part.run(&config, &shared, &sender);
    }
}
