//! Unwind information (`.eh_frame_hdr`, `.eh_frame`) to one row: how to get from a return address to its caller.
//!
//! Called by the rule cache on a miss: once per return address of a process, about half a microsecond. Safe code over
//! one slice: on arbitrary bytes it ends, in time linear in the bytes, without allocating, panicking, or reading
//! outside the slice; whatever it does not understand is "no row".
//!
//! Knows exactly what a walk of x86-64 stacks needs: the canonical frame address from `rsp` or `rbp` plus an offset,
//! the slot of the return address, the slot of the saved `rbp`. Expressions are read over, not evaluated. Leaves out
//! signal trampolines, and tables without a sorted index.
#![forbid(unsafe_code)]

/// DWARF numbers of the registers that matter here.
const RBP: u64 = 6;
const RSP: u64 = 7;
const RETURN_ADDRESS: u64 = 16;

/// `DW_EH_PE_omit`: the value is not there.
const OMIT: u8 = 0xff;

/// States that `DW_CFA_remember_state` can stack up; compilers nest one or two.
const REMEMBERED: usize = 8;

/// A piece of a loaded module, with the address it is loaded at.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    /// Address of the first byte.
    pub(super) address: usize,
    pub(super) bytes: &'a [u8],
}

/// Where the canonical frame address (the caller's stack pointer) comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cfa {
    /// `rsp + offset`.
    Rsp(i64),
    /// `rbp + offset`.
    Rbp(i64),
    /// Another register plus an offset; kept because a later instruction may change just the register.
    Other(i64),
    /// The result of an expression, which this reader does not evaluate.
    Expression,
}

/// How the caller's value of a register is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    /// It is still in the register.
    Unchanged,
    /// The information says there is none; for the return address: the outermost frame.
    Undefined,
    /// Saved at `CFA + offset`.
    Saved(i64),
    /// Something this reader does not follow.
    Other,
}

/// The unwind row in force at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cfa: Cfa,
    pub(super) rbp: Register,
    pub(super) return_address: Register,
    /// `rsp` is not simply the CFA in the caller.
    pub(super) odd_rsp: bool,
    /// The frame is a signal trampoline.
    pub(super) signal: bool,
}

/// Looks up the row for the instruction at `target`. `header` is the address of the module's `.eh_frame_hdr`.
pub(super) fn row_at(image: Image<'_>, header: usize, target: usize) -> Option<Row> {
    let description = find_description(image, header, target)?;
    run(image, description, target)
}

/// A position in an image. Every read is checked and moves on.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    image: Image<'a>,
    at: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    fn new(image: Image<'a>, address: usize) -> Option<Self> {
        let at = address.checked_sub(image.address)?;
        let end = image.bytes.len();
        (at < end).then_some(Self { image, at, end })
    }

    fn address(&self) -> usize {
        self.image.address.wrapping_add(self.at)
    }

    fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    /// Takes the next `length` bytes as a cursor of their own.
    fn split(&mut self, length: usize) -> Option<Self> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.end)?;
        let part = Self {
            image: self.image,
            at: self.at,
            end,
        };
        self.at = end;
        Some(part)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.split(length).map(|_| ())
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let part = self.split(N)?;
        self.image.bytes.get(part.at..part.end)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Unsigned LEB128; bits beyond 64 are dropped.
    fn uleb(&mut self) -> Option<u64> {
        self.leb().map(|(value, _, _)| value)
    }

    /// Signed LEB128; bits beyond 64 are dropped.
    fn sleb(&mut self) -> Option<i64> {
        let (value, shift, last) = self.leb()?;
        let extension = if last & 0x40 != 0 {
            u64::MAX.checked_shl(shift).unwrap_or(0)
        } else {
            0
        };
        Some((value | extension) as i64)
    }

    fn leb(&mut self) -> Option<(u64, u32, u8)> {
        let (mut value, mut shift) = (0u64, 0u32);
        loop {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            shift = shift.saturating_add(7);
            if byte & 0x80 == 0 {
                return Some((value, shift, byte));
            }
        }
    }

    /// A pointer in the `DW_EH_PE_*` encoding `encoding`; `data` is what data-relative values start from.
    fn pointer(&mut self, encoding: u8, data: usize) -> Option<usize> {
        let base = match encoding & 0x70 {
            0x00 => 0,
            0x10 => self.address(),
            0x30 => data,
            _ => return None,
        };
        // Bit 7 is "indirect": it would need a read outside this image.
        if encoding & 0x80 != 0 {
            return None;
        }
        self.value(encoding).map(|value| base.wrapping_add(value as usize))
    }

    /// The value part of an encoded pointer.
    fn value(&mut self, encoding: u8) -> Option<i64> {
        Some(match encoding & 0x0f {
            0x00 | 0x04 | 0x0c => self.u64()? as i64,
            0x01 => self.uleb()? as i64,
            0x02 => i64::from(self.u16()?),
            0x03 => i64::from(self.u32()?),
            0x09 => self.sleb()?,
            0x0a => i64::from(self.u16()? as i16),
            0x0b => i64::from(self.u32()? as i32),
            _ => return None,
        })
    }
}

/// Finds the frame description that may cover `target`, by the sorted table in the header. Returns its address.
fn find_description(image: Image<'_>, header: usize, target: usize) -> Option<usize> {
    let mut cursor = Cursor::new(image, header)?;
    let [version, start_encoding, count_encoding, table_encoding] = cursor.array()?;
    // The one table format in use: pairs of 4-byte offsets from the header.
    if version != 1 || table_encoding != 0x3b || start_encoding == OMIT || count_encoding == OMIT {
        return None;
    }
    cursor.pointer(start_encoding, header)?;
    let count = cursor.pointer(count_encoding, header)?;
    let table = cursor.split(count.checked_mul(8)?)?;
    let entry = |index: usize| -> Option<(usize, usize)> {
        let mut at = table;
        at.skip(index.checked_mul(8)?)?;
        let (function, description) = (at.u32()? as i32, at.u32()? as i32);
        Some((
            header.wrapping_add_signed(function as isize),
            header.wrapping_add_signed(description as isize),
        ))
    };
    // The last entry that starts at or before the target; [low, high) still holds it.
    let (mut low, mut high) = (0, count);
    while high.checked_sub(low)? > 1 {
        let middle = low + (high - low) / 2;
        if entry(middle)?.0 <= target {
            low = middle
        } else {
            high = middle
        }
    }
    let (function, description) = entry(low)?;
    (function <= target).then_some(description)
}

/// One entry of `.eh_frame`: its id field's address, the id, and the bytes after it.
fn entry(image: Image<'_>, address: usize) -> Option<(usize, usize, Cursor<'_>)> {
    let mut cursor = Cursor::new(image, address)?;
    let length = match cursor.u32()? {
        // 0 ends the section; all ones announces a 64-bit length, which a loadable module has no use for.
        0 | u32::MAX => return None,
        length => length as usize,
    };
    let mut body = cursor.split(length)?;
    let at = body.address();
    let id = body.u32()? as usize;
    Some((at, id, body))
}

/// What a description shares with its siblings (a CIE).
struct Common<'a> {
    code_factor: u64,
    data_factor: i64,
    pointer_encoding: u8,
    has_augmentation_data: bool,
    signal: bool,
    program: Cursor<'a>,
}

fn common(image: Image<'_>, address: usize) -> Option<Common<'_>> {
    let (_, id, mut body) = entry(image, address)?;
    let version = body.u8()?;
    if id != 0 || !matches!(version, 1 | 3) {
        return None;
    }
    let mut augmentation = body;
    while body.u8()? != 0 {}
    let code_factor = body.uleb()?;
    let data_factor = body.sleb()?;
    let return_register = if version == 1 {
        u64::from(body.u8()?)
    } else {
        body.uleb()?
    };
    if return_register != RETURN_ADDRESS {
        return None;
    }
    let mut result = Common {
        code_factor,
        data_factor,
        pointer_encoding: 0,
        has_augmentation_data: false,
        signal: false,
        program: body,
    };
    match augmentation.u8()? {
        0 => return Some(result),
        b'z' => {}
        _ => return None,
    }
    let length = usize::try_from(body.uleb()?).ok()?;
    let mut data = body.split(length)?;
    result.has_augmentation_data = true;
    result.program = body;
    loop {
        match augmentation.u8()? {
            0 => return Some(result),
            b'R' => result.pointer_encoding = data.u8()?,
            b'P' => {
                let encoding = data.u8()?;
                data.value(encoding)?;
            }
            b'L' => {
                data.u8()?;
            }
            b'S' => result.signal = true,
            // The rest says nothing about frames, and its data cannot be told apart from what follows.
            _ => return Some(result),
        }
    }
}

/// Runs the program of the description at `address` up to `target`.
fn run(image: Image<'_>, address: usize, target: usize) -> Option<Row> {
    let (id_at, distance, mut body) = entry(image, address)?;
    // The id of a description is the distance back to its common part; 0 would be a common part itself.
    if distance == 0 {
        return None;
    }
    let common = common(image, id_at.checked_sub(distance)?)?;
    let start = body.pointer(common.pointer_encoding, 0)?;
    let length = body.value(common.pointer_encoding)? as usize;
    if target.wrapping_sub(start) >= length {
        return None;
    }
    if common.has_augmentation_data {
        let length = usize::try_from(body.uleb()?).ok()?;
        body.skip(length)?;
    }
    let nothing = Row {
        cfa: Cfa::Expression,
        rbp: Register::Unchanged,
        return_address: Register::Unchanged,
        odd_rsp: false,
        signal: common.signal,
    };
    let mut machine = Machine {
        row: nothing,
        initial: nothing,
        stack: [nothing; REMEMBERED],
        stacked: 0,
        at: start,
    };
    machine.run(common.program, &common, target)?;
    machine.initial = machine.row;
    machine.at = start;
    machine.run(body, &common, target)?;
    Some(machine.row)
}

/// The state of a CFI program.
struct Machine {
    row: Row,
    /// The row the common part ends with: what `DW_CFA_restore` goes back to.
    initial: Row,
    stack: [Row; REMEMBERED],
    stacked: usize,
    /// Address from which on `row` holds.
    at: usize,
}

impl Machine {
    /// Runs instructions until the row for `target` is complete.
    fn run(&mut self, mut code: Cursor<'_>, common: &Common<'_>, target: usize) -> Option<()> {
        let scaled = |value: u64| (value as i64).wrapping_mul(common.data_factor);
        while !code.is_empty() {
            let byte = code.u8()?;
            let low = u64::from(byte & 0x3f);
            let advance = match (byte >> 6, byte) {
                (1, _) => Some(low),
                (2, _) => {
                    let offset = scaled(code.uleb()?);
                    self.set(low, Register::Saved(offset));
                    None
                }
                (3, _) => {
                    self.restore(low);
                    None
                }
                (_, 0x02) => Some(u64::from(code.u8()?)),
                (_, 0x03) => Some(u64::from(code.u16()?)),
                (_, 0x04) => Some(u64::from(code.u32()?)),
                _ => {
                    self.extended(byte, &mut code, common, &scaled)?;
                    None
                }
            };
            if byte == 0x01 {
                // DW_CFA_set_loc
                self.at = code.pointer(common.pointer_encoding, 0)?;
            } else if let Some(delta) = advance {
                self.at = self.at.wrapping_add(delta.wrapping_mul(common.code_factor) as usize);
            }
            if self.at > target {
                return Some(());
            }
        }
        Some(())
    }

    /// The instructions that take a whole byte, other than those that move on in the code.
    fn extended(
        &mut self,
        byte: u8,
        code: &mut Cursor<'_>,
        common: &Common<'_>,
        scaled: &dyn Fn(u64) -> i64,
    ) -> Option<()> {
        match byte {
            // nop; set_loc (its operand is read by the caller)
            0x00 | 0x01 => {}
            // offset_extended, offset_extended_sf, GNU_negative_offset_extended
            0x05 => {
                let register = code.uleb()?;
                self.set(register, Register::Saved(scaled(code.uleb()?)));
            }
            0x11 => {
                let register = code.uleb()?;
                self.set(register, Register::Saved(code.sleb()?.wrapping_mul(common.data_factor)));
            }
            0x2f => {
                let register = code.uleb()?;
                self.set(register, Register::Saved(scaled(code.uleb()?).wrapping_neg()));
            }
            // restore_extended, undefined, same_value
            0x06 => {
                let register = code.uleb()?;
                self.restore(register);
            }
            0x07 => {
                let register = code.uleb()?;
                self.set(register, Register::Undefined);
            }
            0x08 => {
                let register = code.uleb()?;
                self.set(register, Register::Unchanged);
            }
            // register, val_offset, val_offset_sf
            0x09 | 0x14 | 0x15 => {
                let register = code.uleb()?;
                code.uleb()?;
                self.set(register, Register::Other);
            }
            // expression, val_expression
            0x10 | 0x16 => {
                let register = code.uleb()?;
                let length = usize::try_from(code.uleb()?).ok()?;
                code.skip(length)?;
                self.set(register, Register::Other);
            }
            // remember_state, restore_state
            0x0a => {
                *self.stack.get_mut(self.stacked)? = self.row;
                self.stacked += 1;
            }
            0x0b => {
                self.stacked = self.stacked.checked_sub(1)?;
                self.row = *self.stack.get(self.stacked)?;
            }
            // def_cfa, def_cfa_sf, def_cfa_register, def_cfa_offset, def_cfa_offset_sf, def_cfa_expression
            0x0c => {
                let register = code.uleb()?;
                self.row.cfa = cfa(register, code.uleb()? as i64);
            }
            0x12 => {
                let register = code.uleb()?;
                self.row.cfa = cfa(register, code.sleb()?.wrapping_mul(common.data_factor));
            }
            0x0d => {
                let register = code.uleb()?;
                self.row.cfa = match self.row.cfa {
                    Cfa::Rsp(offset) | Cfa::Rbp(offset) | Cfa::Other(offset) => cfa(register, offset),
                    Cfa::Expression => return None,
                };
            }
            0x0e => {
                let offset = code.uleb()? as i64;
                self.move_cfa(offset);
            }
            0x13 => {
                let offset = code.sleb()?.wrapping_mul(common.data_factor);
                self.move_cfa(offset);
            }
            0x0f => {
                let length = usize::try_from(code.uleb()?).ok()?;
                code.skip(length)?;
                self.row.cfa = Cfa::Expression;
            }
            // GNU_args_size
            0x2e => {
                code.uleb()?;
            }
            _ => return None,
        }
        Some(())
    }

    fn move_cfa(&mut self, offset: i64) {
        self.row.cfa = match self.row.cfa {
            Cfa::Rsp(_) => Cfa::Rsp(offset),
            Cfa::Rbp(_) => Cfa::Rbp(offset),
            Cfa::Other(_) => Cfa::Other(offset),
            Cfa::Expression => Cfa::Expression,
        };
    }

    fn set(&mut self, register: u64, rule: Register) {
        match register {
            RBP => self.row.rbp = rule,
            RETURN_ADDRESS => self.row.return_address = rule,
            RSP => self.row.odd_rsp = true,
            _ => {}
        }
    }

    fn restore(&mut self, register: u64) {
        match register {
            RBP => self.row.rbp = self.initial.rbp,
            RETURN_ADDRESS => self.row.return_address = self.initial.return_address,
            RSP => self.row.odd_rsp = self.initial.odd_rsp,
            _ => {}
        }
    }
}

fn cfa(register: u64, offset: i64) -> Cfa {
    match register {
        RSP => Cfa::Rsp(offset),
        RBP => Cfa::Rbp(offset),
        _ => Cfa::Other(offset),
    }
}
