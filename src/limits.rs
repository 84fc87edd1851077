//! Every bound in the system, each with its reason. Reaching one is counted, never a crash.

/// Longest NDJSON or CSV line accepted. A call record is under 2 KiB; the rest is room for vendor
/// fields and bounds what one connection can make us buffer.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Longest call record in JSON. FreeSWITCH writes every variable of the channel, media descriptions included: 12 KiB is
/// usual, and calls that were transferred often have several times that.
pub const JSON_CDR_BYTES_MAX: usize = 256 * 1024;

/// Longest body of a post. FreeSWITCH may wrap a record in base64 or escape it, which makes it up to twice as long; one
/// that is near the limit goes better bare.
pub const POST_BYTES_MAX: usize = JSON_CDR_BYTES_MAX;

/// Lines a quoted CSV record may go on over. Real free-text fields hold a few line breaks; the bound keeps a
/// stray quote from being looked for again and again through 64 KiB.
pub const RECORD_LINES_MAX: usize = 32;

/// Longest SIP message: no datagram, and so no HEP packet, carries more.
pub const SIP_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Longest packet of a capture file. Tools capture up to 256 KiB of one; a longer one is a file that is damaged.
pub const CAPTURE_RECORD_BYTES_MAX: usize = 1 << 20;

/// Interfaces that one section of a capture file describes.
pub const CAPTURE_INTERFACES_MAX: usize = 4096;

/// Datagrams of a capture that wait for fragments: 64 MiB at the most.
pub const CAPTURE_DATAGRAMS_MAX: usize = 1024;

/// Fragments of one datagram. The smallest link that carries IP cuts the longest datagram into 122.
pub const CAPTURE_FRAGMENTS_MAX: u64 = 512;

/// How long a datagram of a capture waits for its fragments. Hosts wait 30 s; those that come at all come within
/// milliseconds, and what follows in the file should not overtake by more.
pub const CAPTURE_FRAGMENT_AGE_US: u64 = 2_000_000;

/// TCP streams of a capture, each direction its own, that are followed at once.
pub const CAPTURE_STREAMS_MAX: usize = 65_536;

/// Bytes that all of them hold: messages that are not whole, and what came before its turn.
pub const CAPTURE_STREAMS_BYTES_MAX: usize = 64 << 20;

/// Bytes, and segments, that one stream holds while an earlier segment is missing. More than the window of any
/// signalling connection seen; what is still missing then was not captured.
pub const CAPTURE_HELD_BYTES_MAX: usize = 256 * 1024;
/// See [`CAPTURE_HELD_BYTES_MAX`].
pub const CAPTURE_HELD_SEGMENTS_MAX: usize = 512;

/// How long a segment that is missing is waited for. A retransmission takes 200 ms to a few seconds.
pub const CAPTURE_HELD_AGE_US: u64 = 5_000_000;

/// One read of a file or a busy connection. Large enough that per-batch costs vanish, small enough
/// that a batch of decoded events stays in the second-level cache (measured: 128-512 KiB are alike).
pub const BLOCK_BYTES: usize = 256 * 1024;
const _: () = assert!(LINE_BYTES_MAX < BLOCK_BYTES && SIP_MESSAGE_BYTES_MAX < BLOCK_BYTES);

/// Longest text a field may carry (Call-ID, trunk, user agent, ...). Longer is rejected as
/// `field_too_long`; RFC 3261 names no limit, and no gateway seen writes a tenth of it.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Longest `call_id`, `leg`, `customer` and `gateway`.
pub const ID_BYTES_MAX: usize = 255;

/// Digits of the longest international number (ITU-T E.164).
pub const E164_DIGITS_MAX: usize = 15;

/// Customers and gateways one process knows by name. Ids are kept for the life of the process, so a
/// feed that may name its own customer could otherwise grow them without end.
pub const NAMES_MAX: usize = 1 << 20;

/// Fixed number of partitions a rule's keys are spread over. Shards own whole partitions, so the
/// number of shards never changes a result.
pub const PARTITIONS: usize = 64;

/// Keys a rule may hold unless it says otherwise.
pub const MAX_KEYS_DEFAULT: u64 = 1_000_000;

/// Bytes a rule may hold unless it says otherwise.
pub const MAX_BYTES_DEFAULT: u64 = 1 << 30;

/// Values a key keeps exactly for `distinct`, `sum`, `avg` and `share`; past it, panes or a sketch.
pub const EXACT_ITEMS_MAX: usize = 65_536;

/// Numbers one key of a `run` rule keeps.
pub const RUN_NUMBERS_MAX: usize = 4096;

/// Longest window. Times inside a window are held as 32 bits of milliseconds.
pub const WINDOW_MS_MAX: i64 = 49 * 86_400_000;
const _: () = assert!(WINDOW_MS_MAX < u32::MAX as i64);

/// What a rule that others follow notes for them: values of violations, of which a key has few.
pub const CHAIN_ENTRIES_MAX: usize = 100_000;

/// Entries of `also`: each is a window of its own for every key.
pub const ALSO_MAX: usize = 4;

/// How long `first_seen` remembers a value unless the rule says otherwise: a month of calls.
pub const MEMORY_MS_DEFAULT: i64 = 30 * 86_400_000;

/// How long an emergency call keeps the way open for the call-back, unless set otherwise.
pub const EMERGENCY_CALLBACK_MS: i64 = 30 * 60_000;

/// Age at which a call that never ended is taken for over.
pub const CALL_AGE_MS_MAX: i64 = 12 * 3_600_000;

/// How long an ended call is remembered, so that a late copy of it is known.
pub const CALL_LINGER_MS: i64 = 2 * 60_000;

/// How long a repeated verdict request of a feed that does not merge gets the same answer: twice the
/// 32 s of RFC 3261 timer B/F would outlive the transaction, so exactly those 32 s.
pub const VERDICT_REPEAT_MS: i64 = 32_000;

/// Calls the call table holds at once.
pub const CALLS_MAX: usize = 1_000_000;

/// Calls of which one stream of transaction rows has told a part (`kamailio-acc`), and what they may hold. A busy
/// proxy has some ten thousand up at once.
pub const PAIRED_CALLS_MAX: usize = 100_000;
/// See [`PAIRED_CALLS_MAX`].
pub const PAIRED_BYTES_MAX: usize = 64 << 20;
/// Branches of one Call-ID that are told apart. Each row looks through them.
pub const PAIRED_LEGS_MAX: usize = 16;

/// De-duplication: entries a gateway, and how far back in event time.
pub const DEDUP_ENTRIES_MAX: usize = 1_000_000;
/// See [`DEDUP_ENTRIES_MAX`].
pub const DEDUP_SPAN_MS: i64 = 10 * 60_000;

/// An event later than its arrival by more than this is clamped to arrival.
pub const FUTURE_MS_MAX: i64 = 5_000;

/// Longest expression of a rule. The longest seen is under 1 KiB; longer sets belong into lists.
pub const EXPRESSION_BYTES_MAX: usize = 64 * 1024;

/// Parentheses and `not`s within each other. Parser, checker and evaluation recurse, so it bounds the stack.
pub const EXPRESSION_DEPTH_MAX: usize = 64;

/// Macros within macros.
pub const MACRO_DEPTH_MAX: usize = 8;

/// Tests of one condition once its macros are filled in: macros that use macros grow like powers.
pub const EXPRESSION_TESTS_MAX: usize = 10_000;

/// Longest rule file, and numbering table. A thousand rules are under 1 MiB.
pub const RULE_FILE_BYTES_MAX: u64 = 16 << 20;

/// Rule files of one set.
pub const RULE_FILES_MAX: usize = 10_000;

/// Customers' files of one rule set. Each is looked up by its id for every event of its customer.
pub const CUSTOMERS_MAX: usize = 10_000;
const _: () = assert!(CUSTOMERS_MAX < NAMES_MAX);

/// Longest file of what is usual of a rule: 1,000 keys with long names in 168 hours are a tenth of it.
pub const USUAL_FILE_BYTES_MAX: u64 = 128 << 20;

/// Longest list file: tens of millions of entries with comments.
pub const LIST_FILE_BYTES_MAX: u64 = 4 << 30;

/// Entries of `except`, and of `mute`, of one rule. Each is asked for every event that the rule would count; more values
/// than this belong on a list.
pub const EXCEPTIONS_MAX: usize = 100;

/// Rules of one kind, variants for customers included, so that 16 bits name one.
pub const RULES_MAX: usize = u16::MAX as usize;

/// Entries of a `per` list. More than eight fields name a call, not a key.
pub const KEY_PARTS_MAX: usize = 8;

/// Test files of one rule set.
pub const TEST_FILES_MAX: usize = 10_000;

/// Events of one unit test of rules. They are held in memory, and what a rule cannot show with so many belongs in a replay.
pub const TEST_EVENTS_MAX: u64 = 250_000;

/// How long after its start a unit test may last: longer than any window or memory of a rule.
pub const TEST_SPAN_MS_MAX: i64 = 3_660 * 86_400_000;

/// Problems of one rule set that are shown.
pub const PROBLEMS_MAX: usize = 1000;

/// Longest piece of a snapshot: pieces are made of 64 keys, or of a 64th of a table.
pub const SNAPSHOT_FRAME_BYTES_MAX: usize = 64 << 20;

/// Snapshots that are kept: one, and the one before it for the day it is damaged.
pub const SNAPSHOTS_KEPT: usize = 2;

/// How long gateways may take to come back before time goes on without them. A restart, of theirs or ours, takes seconds;
/// senders that back off try again within half a minute.
pub const GATEWAY_RETURN_MS: i64 = 30_000;

/// How far event time may lag behind the clock on a live feed before a tick closes what is idle, unless set otherwise.
pub const LATENESS_MS_DEFAULT: i64 = 5_000;

/// Entries of a dynamic list, unless it says otherwise.
pub const DYNAMIC_ENTRIES_DEFAULT: usize = 100_000;

/// How long a SIP request may be answered or sent again: 64 times T1, timers B, F and H of RFC 3261.
pub const SIP_TRANSACTION_MS: i64 = 32_000;

/// How long a call is waited for to be tried again after a challenge, or to be answered after a CANCEL. Phones answer a
/// challenge at once, people who are asked for a password within a minute.
pub const SIP_RETRY_MS: i64 = 2 * SIP_TRANSACTION_MS;

/// How long after a refusal a proxy before the callee may take to try the next one. It does so at once; the rest is for
/// what is told late.
pub const SIP_HUNT_MS: i64 = 1_000;

/// Longest time from an INVITE to its final answer. Timer C of RFC 3261 ends it after three minutes; some PBXs let
/// queues ring longer.
pub const SIP_SETUP_MS_MAX: i64 = 10 * 60_000;

/// Branches of one forked call, beside the first, that are kept apart.
pub const SIP_FORKS_MAX: usize = 64;

/// Registrations and single requests that are remembered.
pub const SIP_REQUESTS_MAX: usize = 128 * 1024;

/// Longest UDP datagram.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// What a UDP feed asks the kernel to hold for it: a third of a second of 100,000 messages a second.
pub const UDP_BUFFER_BYTES: usize = 32 << 20;

/// Rows of one row group of the archive: enough that dictionaries pay, few enough that one is decoded in milliseconds.
pub const ARCHIVE_ROW_GROUP_ROWS: usize = 128 * 1024;

/// Rows of one page, the least that is read to see one row.
pub const ARCHIVE_PAGE_ROWS: usize = 16 * 1024;
const _: () = assert!(ARCHIVE_ROW_GROUP_ROWS.is_multiple_of(ARCHIVE_PAGE_ROWS));

/// Bytes of events that wait to be written to files of the archive, over all customers and hours of a round.
pub const ARCHIVE_BUFFER_BYTES_MAX: usize = 256 << 20;

/// Files of the archive that are open for writing at once. Only customers with more than a row group in a round have
/// one open before its end.
pub const ARCHIVE_OPEN_FILES_MAX: usize = 64;

/// Block of a file of the archive that has a checksum of its own: small beside what a query reads, and its sums are
/// 0.006 % of the file.
pub const ARCHIVE_BLOCK_BYTES: usize = 64 * 1024;

/// Longest line of the archive's manifest. A round of 100,000 files has 40 MiB.
pub const ARCHIVE_MANIFEST_LINE_BYTES_MAX: u64 = 256 << 20;

/// Changes that wait for the store: violations of a minute in which each of a thousand rules fires every 600 ms, about
/// 50 MiB. Past it the caller is told.
pub const STORE_WAITING_MAX: usize = 100_000;

/// Calls to the store that wait, whatever they carry.
pub const STORE_JOBS_MAX: usize = 10_000;

/// Changes of one transaction, unless a single call brings more. One fsync is spread over them, and a reader's view is
/// at most some ten milliseconds behind.
pub const STORE_GROUP_MAX: usize = 5_000;

/// Rows that one transaction of a retention deletes, so that what waits behind it is not held up.
pub const STORE_PRUNE_ROWS: usize = 2_000;

/// What the store's log is cut back to once nobody needs the rest: it grows while a backup reads, and is at some MiB
/// otherwise.
pub const STORE_LOG_BYTES_MAX: i64 = 64 << 20;

/// Rows of one page of an answer.
pub const STORE_PAGE_ROWS_MAX: usize = 10_000;

/// Connections that read the store at once. People look things up; more would wait for the disk anyway.
pub const STORE_READERS: usize = 4;

/// Statements that one connection to the store keeps prepared: all that write, and the usual questions.
pub const STORE_STATEMENTS_MAX: usize = 64;

/// Findings of one check of the store that are told.
pub const STORE_FINDINGS_MAX: usize = 100;

/// How long saving what is good of a damaged store may hold up a start: some hundred thousand rows.
pub const STORE_SAVE_MS: u64 = 3_000;

/// How often a failed write of the store is tried again, at first and in the end.
pub const STORE_RETRY_MS: u64 = 50;
/// See [`STORE_RETRY_MS`].
pub const STORE_RETRY_MS_MAX: u64 = 2_000;

/// How long a caller waits for the store: longer than any fsync of a disk that works.
pub const STORE_WAIT_MS: u64 = 10_000;

/// How long a stop waits for a disk that refuses writes before what waits is given up, counted.
pub const STORE_STOP_MS: u64 = 3_000;
const _: () = assert!(STORE_RETRY_MS_MAX < STORE_STOP_MS && STORE_STOP_MS < STORE_WAIT_MS);
const _: () = assert!(STORE_GROUP_MAX <= STORE_WAITING_MAX);

/// Longest record of the journal. A block of 256 KiB becomes less than that; the rest is room for an annex, and bounds
/// what a damaged length can make us read.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 64 << 20;
const _: () = assert!(BLOCK_BYTES * 64 <= JOURNAL_RECORD_BYTES_MAX);

/// Size at which a segment of the journal gives way to the next, unless set otherwise: a second of traffic at the most
/// that is measured is 160 MB, so folders stay short and what trimming frees comes in small pieces.
pub const JOURNAL_SEGMENT_BYTES_DEFAULT: u64 = 64 << 20;

/// Longest segment that is read, which is done at once. Longer ones cannot come of any setting that is taken.
pub const JOURNAL_SEGMENT_READ_BYTES_MAX: u64 = 1 << 30;
/// Largest segment that may be set: a group and a record may come on top.
pub const JOURNAL_SEGMENT_BYTES_MAX: u64 = 512 << 20;
const _: () = assert!(
    JOURNAL_SEGMENT_BYTES_MAX + (JOURNAL_GROUP_BYTES + JOURNAL_RECORD_BYTES_MAX) as u64 * 2
        <= JOURNAL_SEGMENT_READ_BYTES_MAX
);

/// Bytes of the journal that are written at once.
pub const JOURNAL_GROUP_BYTES: usize = 4 << 20;

/// Bytes that may be written and not yet durable before the journal syncs ahead of its interval: they are kept in
/// memory until then.
pub const JOURNAL_UNSYNCED_BYTES_MAX: usize = 16 << 20;

/// Bytes that wait for the disk before gateways are pushed back: a fifth of a second at two million events a second.
pub const JOURNAL_BACKLOG_BYTES: usize = 32 << 20;
const _: () = assert!(JOURNAL_UNSYNCED_BYTES_MAX < JOURNAL_BACKLOG_BYTES);
/// Bytes that wait for the disk before records are left out of the journal. What lies between is for those who cannot
/// be pushed back, and for what was on its way.
pub const JOURNAL_BACKLOG_BYTES_MAX: usize = 128 << 20;

/// How long the journal waits before it tries a disk again that failed.
pub const JOURNAL_RETRY_MS: u64 = 500;

/// Places of damage that are told one by one; the others are counted.
pub const JOURNAL_DAMAGES_TOLD_MAX: usize = 1000;

/// A piece of a save: what is written of the engine's state while one of its locks is held. Some 50 us, less than the
/// judging of a batch.
pub const SAVE_PIECE_BYTES: usize = 32 * 1024;

/// Batches of the past that are under way at once while a rule is being warmed: one is counted while the next is read.
/// A batch is some 4,000 events; calls that come meanwhile wait for no more than these.
pub const BACKFILL_BATCHES_MAX: usize = 2;

/// What the keys of one partition may reserve beyond their items when they are read again. A rule of `max_bytes` up to
/// 8 GiB reserves what it had; a damaged file no more than this.
pub const SAVED_SLACK_BYTES_MAX: usize = 256 << 20;

/// Files of one backup: an archive of ten years of some hundred customers.
pub const BACKUP_FILES_MAX: usize = 10_000_000;

/// Longest manifest of an archive that a backup takes: it is held in memory, and has some hundred bytes a file.
pub const BACKUP_MANIFEST_BYTES_MAX: u64 = 4 << 30;

/// How often a backup begins anew because what it copied went meanwhile. Segments go when snapshots come; that this
/// happens while a few files are opened, again and again, means something else is wrong.
pub const BACKUP_TRIES_MAX: usize = 50;

/// Room below which a disk counts as full: two segments and a round of the archive at their usual sizes.
pub const DOCTOR_FREE_BYTES_MIN: u64 = 1 << 30;

/// Files a disk must have room for: a day of an archive of some hundred customers.
pub const DOCTOR_FREE_FILES_MIN: u64 = 10_000;

/// Bytes of an answer to a request for metrics that are read.
pub const DOCTOR_METRICS_BYTES_MAX: u64 = 64 << 20;

/// Longest kit: the shipped ones are under 4 KiB, and somebody must read it before it is used.
pub const KIT_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Files of one folder of kits: every kind in a few languages' worth of folders, and what lies beside them.
pub const KIT_FILES_MAX: usize = 100;

/// Variables of one kit; the incident book knows some thirty facts.
pub const KIT_VARIABLES_MAX: usize = 60;

/// Steps one text may compute: a long mail takes some hundred. What loops for ever ends here, in about a millisecond.
pub const KIT_FUEL: u64 = 20_000;

/// Longest form of a message: ten pages of text.
pub const KIT_FORM_BYTES_MAX: usize = 32 * 1024;

/// Longest value of a variable, unless its kit says otherwise, in characters: a sentence.
pub const KIT_VALUE_CHARS_DEFAULT: usize = 120;
/// Longest value a kit may allow: two pages of findings.
pub const KIT_VALUE_CHARS_MAX: usize = 4_000;
const _: () = assert!(KIT_VALUE_CHARS_DEFAULT <= KIT_VALUE_CHARS_MAX && KIT_VALUE_CHARS_MAX * 4 <= KIT_FORM_BYTES_MAX);

/// Items of a list that a message shows; the others are counted.
pub const KIT_LIST_ITEMS_MAX: usize = 20;

/// Longest subject of a mail: what mail programs show, and a line of a header with room to be encoded.
pub const MAIL_SUBJECT_CHARS_MAX: usize = 120;

/// Longest announcement to callers; past it they hang up before the end.
pub const ACD_SECONDS_MAX: f64 = 20.0;
/// Length at which an announcement is refused even during an incident: a long name must not keep a notice from going
/// out, a text that nobody meant to be said must.
pub const ACD_SECONDS_REFUSED: f64 = 25.0;
const _: () = assert!(ACD_SECONDS_MAX < ACD_SECONDS_REFUSED);

/// Parts of an SMS in a script outside the GSM alphabet: 201 units say what 160 septets do.
pub const SMS_UCS2_PARTS_MAX: usize = 3;

/// Dates, and intervals of a weekday, that a calendar lists: a century of holidays and then some.
pub const CALENDAR_ENTRIES_MAX: usize = 10_000;

/// Longest name of a closed date. It stands in one line of an explanation.
pub const CALENDAR_NAME_CHARS_MAX: usize = 100;

/// How far ahead a calendar looks for its next opening. One that is closed for longer is not waited for: there is no
/// deadline, which is told.
pub const CALENDAR_SEARCH_DAYS_MAX: i64 = 10 * 366;

/// Steps of an explanation that are kept; a person reads a dozen. What follows is left out, and that is said.
pub const CALENDAR_STEPS_MAX: usize = 1000;

/// Longest iCalendar file. The holidays of every country for a decade are under 1 MiB.
pub const ICAL_BYTES_MAX: usize = 4 << 20;

/// Lines of an iCalendar file, after folded ones are put together.
pub const ICAL_LINES_MAX: usize = 200_000;

/// Events with a repetition that one file may have, and occurrences that all of them may be asked for: bounds the
/// work on a file that repeats for ever.
pub const ICAL_RULES_MAX: usize = 500;
/// See [`ICAL_RULES_MAX`].
pub const ICAL_OCCURRENCES_MAX: usize = 100_000;

/// Dates that one event may close, from its start to its end. A holiday that lasts longer is a mistake of the file.
pub const ICAL_EVENT_DAYS_MAX: i64 = 366;

/// How far ahead business time is added up: no deadline lies a century away, and the work stays bounded.
pub const CALENDAR_REACH_DAYS_MAX: i64 = 100 * 366;
const _: () = assert!(CALENDAR_SEARCH_DAYS_MAX < CALENDAR_REACH_DAYS_MAX);

/// Longest content line of an iCalendar file, put together. Descriptions run to pages; none of them is used.
pub const ICAL_LINE_BYTES_MAX: usize = 16 * 1024;

/// Longest repetition rule. Those of holidays are under 100 bytes.
pub const ICAL_RULE_BYTES_MAX: usize = 512;

/// Dates that one event adds to its repetition, or leaves out of it, by listing them.
pub const ICAL_LISTED_DATES_MAX: usize = 10_000;

/// Mistakes of one file that are told one by one; the others are counted.
pub const ICAL_MISTAKES_MAX: usize = 200;

/// Longest name of a time zone in a file; registries of zones have prefixes of their own.
pub const ICAL_ZONE_BYTES_MAX: usize = 128;

/// Orders of people, and answers of those who take notices, that wait for the desk. Whoever comes then is told to come
/// again.
pub const DESK_ORDERS_MAX: usize = 256;

/// How long somebody waits for an order to be done and durable.
pub const DESK_WAIT_MS: u64 = 10_000;

/// Violations and closings that become one transaction: a few milliseconds' work.
pub const DESK_BATCH_MAX: usize = 1_000;

/// Rest before something that failed is tried again.
pub const DESK_RETRY_MS: u64 = 1_000;

/// Records of one customer that a draft of findings reads: an hour of the busiest there is, a month of most. Ten seconds'
/// work, and it is said where more are there.
pub const FINDINGS_EVENTS_MAX: u64 = 20_000_000;

/// How often a draft begins anew because the journal let go of what it was about to read.
pub const FINDINGS_READ_TRIES: u32 = 3;

/// Events that are gone through to find a call, and again to tell what it counted towards: some seconds' work each, and
/// it is said where more are there.
pub const EXPLAIN_EVENTS_MAX: u64 = 20_000_000;

/// How often such a reading goes on anew because the journal let go of what it was about to read.
pub const EXPLAIN_READ_TRIES: u32 = 3;

/// Tests of one condition that are told; a person reads no more, and a program has the rule.
pub const EXPLAIN_TESTS_MAX: usize = 500;

/// Calls of one window that may be named, and those that are unless somebody asks for more.
pub const EXPLAIN_CALLS_MAX: usize = 10_000;
pub const EXPLAIN_CALLS: usize = 10;

/// Values on dynamic lists of which is known who put them there; of more the oldest are forgotten.
pub const EXPLAIN_PLACED_MAX: usize = 10_000;

/// Events that `ringfence explain` tells one after the other.
pub const EXPLAIN_LINES_MAX: usize = 100;

/// Longest line that it takes as an event or a violation.
pub const EXPLAIN_LINE_BYTES_MAX: u64 = 64 * 1024;

/// Calls of an incident that are put together one by one; some half a KiB each.
pub const FINDINGS_CALLS_MAX: usize = 100_000;

/// Events that were counted, of which values over time are computed anew; 32 bytes each.
pub const FINDINGS_HITS_MAX: usize = 2_000_000;

/// Keys of a rule, and callers and addresses beside the incident, that are told apart.
pub const FINDINGS_KEYS_MAX: usize = 200_000;

/// Alerts of an incident whose calls are looked for.
pub const FINDINGS_ALERTS_MAX: usize = 10_000;

/// Alerts whose key stands for many, of one rule: each is compared with every event.
pub const FINDINGS_OPEN_KEYS_MAX: usize = 100;

/// How long before an incident tells what is normal: the same hours of the day before.
pub const FINDINGS_NORMAL_MS: i64 = 24 * 3_600_000;

/// Longest stretch of an incident whose calls are read.
pub const FINDINGS_SPAN_MS_MAX: i64 = 31 * 86_400_000;

/// Values of a ranking that are kept: a page of a mail. The others are counted.
pub const FINDINGS_RANKS: usize = 20;

/// Calls that are shown one by one.
pub const FINDINGS_SAMPLES: usize = 10;

/// Points of a picture over time: more are narrower than a pen.
pub const FINDINGS_BUCKETS_MAX: usize = 90;

/// Longest picture: it goes with mails and pages.
pub const FINDINGS_SVG_BYTES_MAX: usize = 30 * 1024;

/// Values that one recommendation puts on a list; a longer list is a range, or a question for a person.
pub const FINDINGS_BLOCKS_MAX: usize = 10;
const _: () = assert!(FINDINGS_BLOCKS_MAX <= FINDINGS_RANKS);
/// Longest answer of a mail server that is read. What a server offers is under 1 KiB.
pub const MAIL_REPLY_BYTES_MAX: usize = 16 * 1024;

/// As much of an answer of a mail server as is kept and shown: the number it gave a mail, or why it did not take it.
pub const MAIL_REPLY_CHARS_MAX: usize = 200;

/// Longest mail address: what SMTP allows between the brackets of a command.
pub const MAIL_ADDRESS_BYTES_MAX: usize = 254;

/// As much of an address that is none as a person needs to find it.
pub const MAIL_SHOWN_CHARS_MAX: usize = 80;

/// Longest text in a header of a mail, a subject or a name, before it is encoded: room for the longest subject of a kit.
pub const MAIL_HEADER_CHARS_MAX: usize = 250;
const _: () = assert!(MAIL_SUBJECT_CHARS_MAX <= MAIL_HEADER_CHARS_MAX);

/// Longest name of an installation in the ids of its mails. An id must fit a line, which cannot be broken there.
pub const MAIL_SITE_CHARS_MAX: usize = 64;

/// Addresses of a mail server's name that are tried, each with its own time-out.
pub const MAIL_ADDRESSES_MAX: usize = 4;

/// How long a mail server that is bid goodbye may take to answer. Nothing depends on it.
pub const MAIL_QUIT_MS: u64 = 2_000;

/// Canaries that fail in a row until mail is held to be down: one may be an accident, and everybody's telephone rings.
pub const CANARY_FAILURES: u32 = 2;

/// Rest before the canary that decides, and between any two.
pub const CANARY_AGAIN_MS: u64 = 5_000;

/// How often it is looked whether a canary arrived.
pub const CANARY_LOOK_MS: u64 = 500;

/// Files of either folder of the canary's inbox that are looked at: a day of canaries that were not removed.
pub const CANARY_INBOX_FILES_MAX: usize = 2_000;

/// As much of a mail as is read to see whether it is a canary: its headers and those that servers on the way add.
pub const CANARY_MAIL_BYTES_MAX: u64 = 64 * 1024;

/// Users of one service. Everybody of a large operator's service team fits several times over.
pub const PEOPLE_MAX: usize = 1_000;
const _: () = assert!(PEOPLE_MAX <= STORE_PAGE_ROWS_MAX);

/// Longest name of a user. An address of mail fits.
pub const PERSON_NAME_BYTES_MAX: usize = 64;

/// Tokens of one user that hold at once; one a program.
pub const TOKENS_PER_USER_MAX: usize = 50;

/// Longest note on what a token is for.
pub const TOKEN_LABEL_CHARS_MAX: usize = 100;

/// Longest life of a token that ends.
pub const TOKEN_DAYS_MAX: u32 = 3_650;

/// A token's last use is written no oftener: a poll each second would otherwise be a write each second.
pub const TOKEN_USED_EVERY_MS: i64 = 60_000;

/// How long the token lives that makes the first admin.
pub const SETUP_TOKEN_MS: i64 = 24 * 3_600_000;

/// Fewest characters of a password; NIST asks for 8 at least, and 12 cost nobody anything.
pub const PASSWORD_CHARS_MIN: usize = 12;

/// Longest password that is hashed.
pub const PASSWORD_BYTES_MAX: usize = 256;

/// Passwords that are hashed at once, each with 19 MiB and a good part of a core that calls would otherwise have.
pub const PASSWORDS_AT_ONCE: usize = 2;

/// How long a login waits for its turn to be hashed.
pub const PASSWORDS_WAIT_MS: u64 = 2_000;

/// Browsers that are logged in at once, of all and of one user; past it the one not used for longest is logged out.
pub const SESSIONS_MAX: usize = 2_000;
/// See [`SESSIONS_MAX`].
pub const SESSIONS_PER_USER_MAX: usize = 10;

/// A shift: then a browser logs in again.
pub const SESSION_MS: i64 = 12 * 3_600_000;

/// A browser that nobody uses is logged out.
pub const SESSION_IDLE_MS: i64 = 3_600_000;

/// Names, and addresses, whose failed logins are remembered; past it the one that failed least is forgotten.
pub const LOGINS_REMEMBERED_MAX: usize = 4_096;

/// How long a failed login is remembered.
pub const LOGIN_MEMORY_MS: i64 = 3_600_000;

/// How long a name waits at most after failed logins: whoever knows a name must not be able to keep its owner out.
pub const LOGIN_NAME_WAIT_MS_MAX: u64 = 30_000;

/// How long an address does.
pub const LOGIN_ADDRESS_WAIT_MS_MAX: u64 = 15 * 60_000;

/// Longest body of a request to the API: a message in all its forms, several times over.
pub const API_BYTES_MAX: usize = 256 * 1024;

/// The same of a login, which anybody may send.
pub const LOGIN_BYTES_MAX: usize = 4 * 1024;
const _: () = assert!(PASSWORD_BYTES_MAX + PERSON_NAME_BYTES_MAX < LOGIN_BYTES_MAX);

/// How long the body of a request may take to come.
pub const API_BODY_MS: u64 = 10_000;

/// Requests to the API that are worked on at once, each on a thread of its own that may wait for the disk; and logins
/// beside them, so that whoever floods those keeps nobody else waiting.
pub const API_CALLS_MAX: usize = 16;
/// See [`API_CALLS_MAX`].
pub const API_LOGINS_MAX: usize = 8;

/// How long a request waits for its turn.
pub const API_TURN_MS: u64 = 5_000;

/// Rows of one answer, where it is not said how many, and at most.
pub const API_ROWS: usize = 100;
/// See [`API_ROWS`].
pub const API_ROWS_MAX: usize = 1_000;

/// Alerts that an incident's own page shows: the newest. A storm has hundreds, and nobody reads them one by one.
pub const API_ALERTS_MAX: usize = 200;

/// Incidents that are looked through for a page where they are narrowed by severity.
pub const API_INCIDENTS_SCANNED_MAX: usize = 20_000;

/// Deliveries that are looked through for a page where they are narrowed by person.
pub const API_DELIVERIES_SCANNED_MAX: usize = 20_000;

/// Calls that one look at the call sheet shows: a morning's work for a service desk, each with its text.
pub const API_CALLS_ON_SHEET_MAX: usize = 500;

/// Deliveries of one incident of which it is told why and how: each takes a look at its steps.
pub const API_TOLD_ROWS_MAX: usize = 1_000;

/// Pages behind links of those on call that are made at once.
pub const ACK_PAGES_MAX: usize = 8;

/// How long a command waits for the service, longer than the service waits for its disk.
pub const CLIENT_WAIT_MS: u64 = 30_000;
const _: () = assert!(CLIENT_WAIT_MS > DESK_WAIT_MS + API_TURN_MS);

/// Longest answer that a command reads: a page of rows, each with texts of people.
pub const CLIENT_ANSWER_BYTES_MAX: usize = 64 << 20;

/// Deliveries that one round of the outbox takes: some milliseconds' work for the store.
pub const OUTBOX_BATCH_MAX: usize = 500;

/// Parcels that are with the providers of one channel at once.
pub const OUTBOX_SENDING_MAX: usize = 128;

/// What waits for the outbox's thread: answers of providers, receipts, orders.
pub const OUTBOX_INPUTS_MAX: usize = 4_096;

/// How long a receipt or an order waits to be on record.
pub const OUTBOX_WAIT_MS: u64 = 10_000;

/// Rest before a provider is asked for something it may have.
pub const OUTBOX_ASK_MS: i64 = 2_000;

/// How long a receipt may still come of a text message of which nobody knows whether it went, before it is sent again.
pub const OUTBOX_ASK_AGAIN_MS: i64 = 60_000;

/// Messages whose texts are kept at hand.
pub const OUTBOX_MESSAGES_KEPT: usize = 64;

/// How long a stop waits for what is with providers.
pub const OUTBOX_STOP_MS: u64 = 3_000;

/// How long a link is good by which somebody on call says that they look after an incident.
pub const LINK_MS: i64 = 24 * 3_600_000;

/// Longest link that is read; a name of a person has a hundred bytes, two digits each.
pub const LINK_BYTES_MAX: usize = 512;
/// What is kept of an answer to what we send: a page of a provider's list of messages, each with its text. The rest is not
/// read, however much a server sends.
pub const OUTBOUND_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Longest head of such an answer.
pub const OUTBOUND_HEAD_BYTES_MAX: usize = 32 * 1024;

/// Connections that are kept open to one server, for bursts.
pub const OUTBOUND_IDLE_MAX: usize = 32;

/// How long a connection is kept that nothing uses. Shorter than servers wait before they hang up (2 s is the shortest that
/// is usual): a request that crosses such a hang-up may or may not have been taken, and somebody has to find out.
pub const OUTBOUND_IDLE_MS: u64 = 1_500;

/// A path of a server from this length on may be a key, and is not repeated in an error.
pub const OUTBOUND_SECRET_PATH_MIN: usize = 16;

/// Parts that one text message may be made of: each is paid for, and phones put no more together.
pub const SMS_PARTS_MAX: usize = 10;

/// Longest time that an SMS centre is told to go on trying: a week.
pub const SMS_VALIDITY_MINUTES_MAX: i64 = 7 * 24 * 60;

/// Pages of a provider's list that are looked through for one message, and rows of each, whose texts fit into
/// [`OUTBOUND_ANSWER_BYTES_MAX`] with all their escapes.
pub const SMS_LIST_PAGES_MAX: usize = 5;
/// See [`SMS_LIST_PAGES_MAX`].
pub const SMS_LIST_ROWS: usize = 20;
const _: () = assert!(SMS_LIST_ROWS * (1600 * 6 + 2048) < OUTBOUND_ANSWER_BYTES_MAX);

/// What the templates of a provider may compute, and how much they may make.
pub const SMS_TEMPLATE_FUEL: u64 = 20_000;
/// See [`SMS_TEMPLATE_FUEL`].
pub const SMS_TEMPLATE_BYTES_MAX: usize = 32 * 1024;

/// Longest post of a receipt; providers send a dozen short fields.
pub const RECEIPT_BYTES_MAX: usize = 16 * 1024;

/// Receipts that are worked on at once, each waiting for the disk.
pub const RECEIPTS_AT_ONCE: usize = 32;

/// How long a receipt waits for its turn, shorter than providers wait for us.
pub const RECEIPT_TURN_MS: u64 = 3_000;

/// Longest reason that a receipt may give; providers write a word or a code.
pub const RECEIPT_REASON_CHARS_MAX: usize = 120;

/// Longest summary of an event that PagerDuty takes.
pub const PAGERDUTY_SUMMARY_CHARS_MAX: usize = 1024;

/// Longest key of what belongs together, there.
pub const PAGERDUTY_KEY_CHARS_MAX: usize = 255;

/// What is told of a message's text, there; it takes 512 KiB of everything together.
pub const PAGERDUTY_TEXT_CHARS_MAX: usize = 16 * 1024;
/// Longest post of another program's alerts: some two thousand of them. Alertmanager has `max_alerts` for more.
pub const UPSTREAM_POST_BYTES_MAX: usize = 1 << 20;

/// Longest single event: what PagerDuty takes.
pub const UPSTREAM_EVENT_BYTES_MAX: usize = 512 * 1024;
const _: () = assert!(UPSTREAM_EVENT_BYTES_MAX <= UPSTREAM_POST_BYTES_MAX);

/// How long the body of a post may take to come. Alertmanager gives up by itself after some ten seconds.
pub const UPSTREAM_BODY_MS: u64 = 10_000;

/// Posts that are read or worked on at once; others come again. Each may be held in memory many times its length.
pub const UPSTREAM_POSTS_MAX: usize = 8;

/// How long a post waits for those of the same receiver before it.
pub const UPSTREAM_TURN_MS: u64 = 5_000;

/// Alerts of one post.
pub const UPSTREAM_ALERTS_MAX: usize = 5_000;
const _: () = assert!(2 * UPSTREAM_ALERTS_MAX <= STORE_WAITING_MAX);

/// Labels of one alert that are kept; usual ones have ten.
pub const UPSTREAM_LABELS_MAX: usize = 64;

/// Longest name of a label that is kept whole.
pub const UPSTREAM_NAME_BYTES_MAX: usize = 128;

/// Longest value of a label that is kept whole.
pub const UPSTREAM_LABEL_BYTES_MAX: usize = 512;

/// Longest name that alerts fold by; a dedup_key of PagerDuty has up to 255 characters.
pub const UPSTREAM_GROUP_BYTES_MAX: usize = 255;

/// Longest line on what an alert is about: kits show no more.
pub const UPSTREAM_WHAT_CHARS_MAX: usize = 160;

/// Reasons that one answer tells.
pub const UPSTREAM_PROBLEMS_MAX: usize = 20;

/// Receivers of one service: a customer has a few.
pub const UPSTREAM_RECEIVERS_MAX: usize = 10_000;

/// Longest line to a syslog server. rsyslog cuts at 8 KiB unless told otherwise, and takes the rest for a new message.
pub const SYSLOG_LINE_BYTES_MAX: usize = 8_000;

/// Longest value of a field beside the text of a message.
pub const SYSLOG_VALUE_CHARS_MAX: usize = 255;
/// The same in bytes, before what must be escaped is: nine of them leave room for a text.
pub const SYSLOG_VALUE_BYTES_MAX: usize = 300;
const _: () = assert!(2 * 9 * SYSLOG_VALUE_BYTES_MAX + 1_000 < SYSLOG_LINE_BYTES_MAX);

/// How long a new connection to a syslog server is looked at before anything is sent: a server that does not want us says
/// so at once, but only behind the handshake.
pub const SYSLOG_SETTLE_MS: u64 = 200;
/// Announcements that callers hear one after the other: a third is not remembered, and they wait for somebody to answer.
pub const ACD_SAID_MAX: usize = 2;

/// Announcements that a queue leaves out and names; the others are counted.
pub const ACD_LEFT_OUT_MAX: usize = 50;

/// Queues of the settings. Each is chosen for, and read back, with every change.
pub const ACD_QUEUES_MAX: usize = 500;

/// Longest name of a queue: a part of a path and of dial plans.
pub const ACD_QUEUE_NAME_BYTES_MAX: usize = 64;

/// How long it may take to look at what is served, on this machine.
pub const ACD_READ_BACK_MS: u64 = 5_000;

/// Before a recording, a look or a push that failed is tried again: twice as long each time, up to a minute. Callers are
/// on the line meanwhile.
pub const ACD_RETRY_MS: u64 = 1_000;
/// See [`ACD_RETRY_MS`].
pub const ACD_RETRY_MS_MAX: u64 = 60_000;
const _: () = assert!(ACD_RETRY_MS <= ACD_RETRY_MS_MAX);

/// Recordings that are kept, 160 KB each: those of some incidents, and of texts that come again.
pub const ACD_RECORDINGS_MAX: usize = 64;
const _: () = assert!(ACD_RECORDINGS_MAX >= ACD_SAID_MAX);

/// Longest recording. A slow voice needs twice what is reckoned; what is longer is a mistake of its program.
pub const ACD_WAV_SECONDS_MAX: u64 = 60;
const _: () = assert!(ACD_WAV_SECONDS_MAX as f64 > 2.0 * ACD_SECONDS_REFUSED);

/// Most that a text-to-speech program may write: the longest recording at 48 kHz in stereo, with room.
pub const TTS_WAV_BYTES_MAX: usize = 16 << 20;
const _: () = assert!(TTS_WAV_BYTES_MAX as u64 > ACD_WAV_SECONDS_MAX * 48_000 * 4);

/// Of what it says on standard error, as much is logged.
pub const TTS_SAID_BYTES_MAX: usize = 1024;

// What replays report.

/// Names of attacks in a labelled recording; those past it are counted as one. A recording has tens.
pub const LABELS_MAX: usize = 4096;

/// Calls shown of each kind of difference between two rule sets: enough to look one up, few enough to be read.
pub const COMPARE_SAMPLES: usize = 3;

/// Hours of keys that a baseline is made of, 16 bytes each: a month of 30,000 busy numbers. What is more is refused, since
/// what is left out would change what is suggested.
pub const BASELINE_KEY_HOURS_MAX: usize = 20_000_000;

/// Reloads that are asked for and wait: the last of them sees what all of them meant.
pub const RELOADS_MAX: usize = 8;

/// How long somebody waits who asked for one: a list of ten million numbers is read in five seconds.
pub const RELOAD_WAIT_MS: u64 = 120_000;

/// How often the files of rules are looked at; a change counts when it has stood still for as long.
pub const RELOAD_LOOK_MS: u64 = 1_000;

/// Files that are looked at. More is not a folder of rules.
pub const RELOAD_FILES_MAX: usize = 200_000;

/// Slots of a table that are looked at in one go: copies of their windows take about a millisecond, and calls wait.
pub const KEYS_LOOKED_AT_ONCE: usize = 1_024;

/// Keys of a rule that are listed at once.
pub const KEYS_LISTED_MAX: usize = 10_000;

/// Keys that are named in one request.
pub const KEYS_NAMED_MAX: usize = 1_000;
