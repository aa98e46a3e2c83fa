/* The verbs of packet scripts that put frames in front of the stack and expect its own. */
#include "tests/net/case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HANDSHAKE_US = 10000 }; /* the first round trip */

/* ---- What both directions share -------------------------------------------------------------- */

static bool read_flags(struct run *run, const char *text, uint8_t *flags)
{
    static const char letters[] = "FSRPAUEC";

    *flags = 0;
    for (; *text != '\0'; text++) {
        const char *letter = strchr(letters, *text);

        if (*text == '-')
            continue;
        if (letter == NULL)
            return run_fail(run, "unknown flag %c", *text);
        *flags |= (uint8_t)(1u << (letter - letters));
    }
    return true;
}

/* "A..B,C..D" relative to `base`. */
static bool read_ranges(struct run *run, const char *text, uint32_t base,
                        struct frame_range ranges[FRAME_SACKS_MAX], unsigned *count)
{
    char copy[200], *rest = copy, *part;

    snprintf(copy, sizeof copy, "%s", text);
    *count = 0;
    while ((part = strsep(&rest, ",")) != NULL) {
        int64_t first, last;

        if (*count == FRAME_SACKS_MAX)
            return run_fail(run, "too many SACK blocks");
        if (!run_range(run, part, &first, &last))
            return false;
        ranges[*count].start = base + (uint32_t)first;
        ranges[(*count)++].end = base + (uint32_t)last;
    }
    return true;
}

/* ---- Frames to the stack --------------------------------------------------------------------- */

struct injection {
    struct segment segment;
    bool alt;   /* other bytes than the stream's */
    bool blind; /* not by the peer: what it knows stays as it is */
    bool bare;  /* no options by default */
    bool acks;  /* an `ack` was given */
    int64_t seq, end, ack, window;
    unsigned offload;
};

struct keyword {
    const char *name;
    bool argument;
    bool (*apply)(struct run *run, struct injection *in, const char *text);
};

static bool in_ack(struct run *run, struct injection *in, const char *text)
{
    in->acks = true;
    return run_number(run, text, &in->ack);
}

static bool in_win(struct run *run, struct injection *in, const char *text)
{
    return run_number(run, text, &in->window);
}

static bool in_len(struct run *run, struct injection *in, const char *text)
{
    int64_t len;

    if (!run_number(run, text, &len))
        return false;
    in->end = in->seq + len;
    return true;
}

static bool in_urg(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.urgent = (uint16_t)value;
    return good;
}

static bool in_mss(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.mss = (uint16_t)value;
    in->segment.has_mss = true;
    return good;
}

static bool in_ws(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.has_wscale = value >= 0;
    in->segment.wscale = (uint8_t)value;
    return good;
}

static bool in_ts(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.ts_value = run->ts_base + (uint32_t)value;
    return good;
}

static bool in_echo(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.ts_echo = (uint32_t)value;
    return good;
}

static bool in_addts(struct run *run, struct injection *in, const char *text)
{
    in->segment.has_ts = true;
    return true;
}

static bool in_nots(struct run *run, struct injection *in, const char *text)
{
    in->segment.has_ts = false;
    return true;
}

static bool in_sackok(struct run *run, struct injection *in, const char *text)
{
    in->segment.sack_ok = true;
    return true;
}

static bool in_bare(struct run *run, struct injection *in, const char *text)
{
    in->segment.has_ts = in->segment.sack_ok = in->segment.has_mss = in->segment.has_wscale = false;
    return true;
}

static bool in_sack(struct run *run, struct injection *in, const char *text)
{
    if (!run->variant.sack)
        return true;
    return read_ranges(run, text, run->peer->irs, in->segment.sacks, &in->segment.sack_count);
}

static bool in_raw(struct run *run, struct injection *in, const char *text)
{
    while (text[0] != '\0' && text[1] != '\0' && in->segment.raw_options_len < FRAME_OPTIONS_MAX) {
        char pair[3] = {text[0], text[1], '\0'};

        in->segment.raw_options[in->segment.raw_options_len++] = (uint8_t)strtoul(pair, NULL, 16);
        text += 2;
    }
    return *text == '\0' || run_fail(run, "bad hexadecimal digits");
}

static bool in_flaw(struct run *run, struct injection *in, const char *text)
{
    static const struct {
        const char *name;
        unsigned flaw;
    } flaws[] = {
        {"tcpsum", FRAME_FLAW_TCP_SUM},       {"ipsum", FRAME_FLAW_IP_SUM},
        {"fragment", FRAME_FLAW_FRAGMENT},    {"short", FRAME_FLAW_SHORT},
        {"padded", FRAME_FLAW_PADDED},        {"vlan", FRAME_FLAW_VLAN},
        {"ipoptions", FRAME_FLAW_IP_OPTIONS},
    };

    for (unsigned i = 0; i < sizeof flaws / sizeof *flaws; i++) {
        if (strcmp(flaws[i].name, text) == 0) {
            in->segment.flaws |= flaws[i].flaw;
            return true;
        }
    }
    return run_fail(run, "unknown flaw %s", text);
}

static bool in_offload(struct run *run, struct injection *in, const char *text)
{
    in->offload = strcmp(text, "good") == 0 ? PACKET_CHECKSUM_GOOD : PACKET_CHECKSUM_BAD;
    return true;
}

static bool in_ecn(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.ecn = (uint8_t)value;
    return good;
}

static bool in_doff(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.data_offset = (unsigned)value;
    return good;
}

static bool in_to(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.to.port = (uint16_t)value;
    return good;
}

static bool in_timeout(struct run *run, struct injection *in, const char *text)
{
    int64_t value;
    bool good = run_number(run, text, &value);

    in->segment.has_timeout = true;
    in->segment.user_timeout = (uint16_t)value;
    return good;
}

static bool in_source(struct run *run, struct injection *in, const char *text)
{
    int64_t last;
    bool good = run_number(run, text, &last);
    size_t at = run->variant.v6 ? 15 : 3;

    /* 255: a broadcast or multicast source; -1: the network's own broadcast address (with IPv6 a
     * group); else another number in the same network. */
    if (last == 255 || (last == -1 && run->variant.v6))
        memset(in->segment.from.address, 0xff, at + 1);
    else
        in->segment.from.address[at] = (uint8_t)last;
    return good;
}

/* To everybody: the broadcast address, or a group that all bits name. */
static bool in_everybody(struct run *run, struct injection *in, const char *text)
{
    memset(in->segment.to.mac, 0xff, sizeof in->segment.to.mac);
    memset(in->segment.to.address, 0xff, sizeof in->segment.to.address);
    return true;
}

static bool in_alt(struct run *run, struct injection *in, const char *text)
{
    in->alt = true;
    return true;
}

static bool in_blind(struct run *run, struct injection *in, const char *text)
{
    in->blind = true;
    return true;
}

static const struct keyword keywords[] = {
    {"ack", true, in_ack},        {"win", true, in_win},
    {"len", true, in_len},        {"urg", true, in_urg},
    {"mss", true, in_mss},        {"ws", true, in_ws},
    {"ts", true, in_ts},          {"echo", true, in_echo},
    {"nots", false, in_nots},     {"addts", false, in_addts},
    {"sackok", false, in_sackok}, {"bare", false, in_bare},
    {"sack", true, in_sack},      {"raw", true, in_raw},
    {"flaw", true, in_flaw},      {"offload", true, in_offload},
    {"ecn", true, in_ecn},        {"doff", true, in_doff},
    {"to", true, in_to},          {"timeout", true, in_timeout},
    {"alt", false, in_alt},       {"blind", false, in_blind},
    {"source", true, in_source},  {"everybody", false, in_everybody},
};

static const struct keyword *find_keyword(const char *name)
{
    for (unsigned i = 0; i < sizeof keywords / sizeof *keywords; i++) {
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    }
    return NULL;
}

static void set_defaults(struct run *run, struct injection *in)
{
    struct segment *segment = &in->segment;
    const struct peer *peer = run->peer;
    bool syn = segment->flags & FRAME_SYN;

    segment->v6 = run->variant.v6;
    segment->from = peer->side;
    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &segment->to);
    in->seq = in->end = peer->next;
    in->ack = segment->flags & FRAME_ACK ? peer->seen : 0;
    in->window = run->window;
    segment->has_ts = syn ? run->variant.ts : peer->ts;
    segment->ts_value = run->ts_base + (uint32_t)((run->host.now_us - run->start_us) / 1000);
    segment->ts_echo = peer->ts_seen && !(syn && !(segment->flags & FRAME_ACK)) ? peer->ts_last : 0;
    if (!syn)
        return;
    segment->has_mss = true;
    segment->mss = (uint16_t)run->mss;
    segment->sack_ok = run->variant.sack;
    segment->has_wscale = run->wscale >= 0;
    segment->wscale = (uint8_t)run->wscale;
}

/* What the peer knows to have sent. */
static void note_sent(struct run *run, const struct injection *in)
{
    const struct segment *segment = &in->segment;
    struct peer *peer = run->peer;
    int64_t end = in->seq + (int64_t)segment->payload_len + !!(segment->flags & FRAME_SYN) +
                  !!(segment->flags & FRAME_FIN);
    int64_t edge = (segment->flags & FRAME_ACK ? in->ack : 1) + in->window;

    if (end > peer->next && !(segment->flags & FRAME_RST))
        peer->next = end;
    if (edge > peer->offered_edge)
        peer->offered_edge = edge;
    if ((segment->flags & FRAME_ACK) && in->ack > peer->acked)
        peer->acked = in->ack;
    if (segment->has_ts && (int32_t)(segment->ts_value - peer->ts_sent) > 0)
        peer->ts_sent = segment->ts_value;
    if (segment->flags & FRAME_FIN)
        peer->finished = true;
    if (segment->flags & FRAME_SYN)
        peer->ts_sent = segment->ts_value;
}

static void push(struct run *run, struct injection *in)
{
    struct segment *segment = &in->segment;
    struct peer *peer = run->peer;
    bool scaled = !(segment->flags & FRAME_SYN) && peer->scaled;
    int64_t raw = scaled ? in->window >> run->wscale : in->window;
    uint8_t frame[FRAME_MAX];
    char text[200];
    size_t len;

    segment->window = (uint16_t)(raw > 0xffff ? 0xffff : raw);
    segment->seq = peer->iss + (uint32_t)in->seq;
    segment->ack = segment->flags & FRAME_ACK ? peer->irs + (uint32_t)in->ack : (uint32_t)in->ack;
    segment->payload_len = (size_t)(in->end - in->seq);
    host_fill(run->last_sent_payload, segment->payload_len, 0,
              (uint64_t)(in->seq + !!(segment->flags & FRAME_SYN) - 1));
    for (size_t i = 0; in->alt && i < segment->payload_len; i++)
        run->last_sent_payload[i] ^= 0xff;
    segment->payload = run->last_sent_payload;
    len = frame_build(segment, frame, sizeof frame);
    frame_describe(segment, peer->iss, peer->irs, text, sizeof text);
    if (run->tracing)
        printf("%10.3f ms <  %s (peer %d)\n", (double)(run->host.now_us - run->start_us) / 1000,
               text, (int)(peer - run->peers));
    unsigned fatal = FRAME_FLAW_IP_SUM | FRAME_FLAW_FRAGMENT | FRAME_FLAW_SHORT;
    if (in->offload != PACKET_CHECKSUM_GOOD)
        fatal |= FRAME_FLAW_TCP_SUM;
    if (!in->blind && !(segment->flaws & fatal))
        note_sent(run, in);
    port_push(run->host.port, frame, len, in->offload);
}

bool run_inject(struct run *run, const struct script_line *line, bool poll)
{
    struct injection in = {0};
    unsigned word = 2;

    if (line->count < 2)
        return run_fail(run, "flags are missing");
    if (!run_quiet(run) || !read_flags(run, line->words[1], &in.segment.flags))
        return false;
    set_defaults(run, &in);
    if (word < line->count && find_keyword(line->words[word]) == NULL &&
        !run_range(run, line->words[word++], &in.seq, &in.end))
        return false;
    for (; word < line->count; word++) {
        const struct keyword *keyword = find_keyword(line->words[word]);

        if (keyword == NULL || (keyword->argument && word + 1 == line->count))
            return run_fail(run, "what is %s?", line->words[word]);
        if (!keyword->apply(run, &in, keyword->argument ? line->words[++word] : NULL))
            return false;
    }
    if (in.end < in.seq || in.end - in.seq > FRAME_MAX - 300)
        return run_fail(run, "a segment of %lld bytes", (long long)(in.end - in.seq));
    push(run, &in);
    run->mark_us = run->host.now_us;
    return !poll || run_settle(run);
}

/* ---- Frames of the stack --------------------------------------------------------------------- */

static struct seen_frame *next_frame(struct run *run)
{
    struct seen_frame *seen = &run->queue[run->queue_first];

    if (run->queue_count == 0) {
        run_fail(run, "no frame was sent");
        return NULL;
    }
    /* Frames of several connections may be in any order, so the first one of this peer is taken. */
    for (unsigned i = 0; i < run->queue_count; i++) {
        unsigned at = (run->queue_first + i) % CASE_QUEUE_MAX;

        if (run->queue[at].peer != run->peer)
            continue;
        seen = &run->queue[at];
        if (i > 0) {
            struct seen_frame copy = *seen;

            for (unsigned j = i; j > 0; j--)
                run->queue[(run->queue_first + j) % CASE_QUEUE_MAX] =
                    run->queue[(run->queue_first + j - 1) % CASE_QUEUE_MAX];
            run->queue[run->queue_first] = copy;
            seen = &run->queue[run->queue_first];
        }
        run->queue_first = (run->queue_first + 1) % CASE_QUEUE_MAX;
        run->queue_count--;
        run->last = seen->segment;
        return seen;
    }
    run_fail(run, "no frame was sent to this peer");
    return NULL;
}

static bool differs(struct run *run, const struct seen_frame *seen, const char *what)
{
    char text[200];

    frame_describe(&seen->segment, run->peer->irs, run->peer->iss, text, sizeof text);
    return run_fail(run, "%s differs: %s (at %.3f ms)", what, text,
                    (double)(seen->at_us - run->start_us) / 1000);
}

static bool expect_sacks(struct run *run, const struct seen_frame *seen, const char *text)
{
    struct frame_range ranges[FRAME_SACKS_MAX];
    unsigned count = 0;

    if (text != NULL && strcmp(text, "any") == 0)
        return true;
    if (text != NULL && run->peer->sack && strcmp(text, "none") != 0 &&
        !read_ranges(run, text, run->peer->iss, ranges, &count))
        return false;
    if (count != seen->segment.sack_count)
        return differs(run, seen, "the number of SACK blocks");
    for (unsigned i = 0; i < count; i++) {
        if (ranges[i].start != seen->segment.sacks[i].start ||
            ranges[i].end != seen->segment.sacks[i].end)
            return differs(run, seen, "a SACK block");
    }
    return true;
}

static bool expect_sequence(struct run *run, const struct seen_frame *seen, bool given,
                            int64_t first, int64_t last)
{
    const struct segment *segment = &seen->segment;
    int64_t seq = (int32_t)(segment->seq - run->peer->irs);

    if (given)
        return (seq == first && (int64_t)segment->payload_len == last - first) ||
               differs(run, seen, "the range");
    if (segment->flags & (FRAME_RST | FRAME_SYN))
        return true;
    if (segment->payload_len != 0)
        return differs(run, seen, "the payload (none is expected)");
    /* An ACK carries SND.NXT; a FIN alone stands just before it. */
    if (seq != seen->seen - !!(segment->flags & FRAME_FIN))
        return differs(run, seen, "the sequence number (SND.NXT is expected)");
    return true;
}

/* The value of a field that a line may ask for. */
static bool field_value(struct run *run, const struct seen_frame *seen, const char *name,
                        int64_t *value)
{
    const struct segment *segment = &seen->segment;
    bool syn = segment->flags & FRAME_SYN;

    if (strcmp(name, "ack") == 0)
        *value = (int32_t)(segment->ack - run->peer->iss);
    else if (strcmp(name, "win") == 0)
        *value = (int64_t)segment->window << (run->peer->scaled && !syn ? run->peer->wscale : 0);
    else if (strcmp(name, "at") == 0)
        *value = (int64_t)(seen->at_us - run->mark_us);
    else if (strcmp(name, "mss") == 0)
        *value = segment->has_mss ? segment->mss : -1;
    else if (strcmp(name, "ws") == 0)
        *value = segment->has_wscale ? segment->wscale : -1;
    else if (strcmp(name, "sackok") == 0)
        *value = segment->sack_ok;
    else if (strcmp(name, "hasts") == 0)
        *value = segment->has_ts;
    else if (strcmp(name, "echo") == 0)
        *value = segment->has_ts ? (int32_t)(segment->ts_echo - run->ts_base) : -1;
    else if (strcmp(name, "ecn") == 0)
        *value = segment->ecn;
    else if (strcmp(name, "len") == 0)
        *value = (int64_t)segment->payload_len;
    else if (strcmp(name, "vlan") == 0)
        *value = (segment->flaws & FRAME_FLAW_VLAN) != 0;
    else
        return false;
    return true;
}

static bool expect_fields(struct run *run, const struct seen_frame *seen,
                          const struct script_line *line, unsigned word)
{
    const char *sacks = NULL;

    for (; word < line->count; word += 2) {
        const char *name = line->words[word];
        int64_t first, last, value;

        if (word + 1 == line->count)
            return run_fail(run, "a value is missing");
        if (strcmp(name, "sack") == 0) {
            sacks = line->words[word + 1];
            continue;
        }
        if (!field_value(run, seen, name, &value))
            return run_fail(run, "what is %s?", name);
        /* Timestamps are compared only where there are some. */
        if (strcmp(name, "echo") == 0 && !run->peer->ts)
            continue;
        if (!run_range(run, line->words[word + 1], &first, &last))
            return false;
        if (value < first || value > last)
            return run_fail(run, "%s is %lld, not %s", name, (long long)value,
                            line->words[word + 1]);
    }
    return expect_sacks(run, seen, sacks);
}

static bool is_field(const char *word)
{
    static const char *const fields[] = {"ack",   "win",  "at",  "mss", "ws",   "sackok",
                                         "hasts", "echo", "ecn", "len", "sack", "vlan"};

    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (strcmp(fields[i], word) == 0)
            return true;
    }
    return false;
}

bool run_expect(struct run *run, const struct script_line *line)
{
    struct seen_frame *seen;
    int64_t first = 0, last = 0;
    unsigned word = 2;
    uint8_t flags, compared;
    bool given = false;

    if (line->count < 2)
        return run_fail(run, "what is expected?");
    if (strcmp(line->words[1], "none") == 0)
        return run_quiet(run);
    if (strcmp(line->words[1], "all") == 0) {
        run->queue_count = 0;
        return true;
    }
    if ((seen = next_frame(run)) == NULL)
        return false;
    if (strcmp(line->words[1], "any") == 0)
        return true;
    if (!read_flags(run, line->words[1], &flags))
        return false;
    compared = flags & FRAME_PSH ? 0xff : (uint8_t)~FRAME_PSH;
    if ((seen->segment.flags & compared) != flags)
        return differs(run, seen, "a flag");
    if (word < line->count && !is_field(line->words[word])) {
        given = true;
        if (!run_range(run, line->words[word++], &first, &last))
            return false;
    }
    /* `len` stands for a payload wherever it begins. */
    for (unsigned i = word; !given && i < line->count; i++) {
        if (strcmp(line->words[i], "len") == 0)
            return expect_fields(run, seen, line, word);
    }
    return expect_sequence(run, seen, given, first, last) && expect_fields(run, seen, line, word);
}

bool run_expect_data(struct run *run, const struct script_line *line)
{
    int64_t first, last, mss = run->mss - (run->peer->ts ? 12 : 0);

    if (line->count < 2 || !run_range(run, line->words[1], &first, &last))
        return false;
    while (first < last) {
        int64_t len = last - first < mss ? last - first : mss;
        struct seen_frame *seen = next_frame(run);

        if (seen == NULL)
            return false;
        if ((seen->segment.flags & (uint8_t)~FRAME_PSH) != FRAME_ACK)
            return differs(run, seen, "a flag");
        if (!expect_sequence(run, seen, true, first, first + len) ||
            !expect_fields(run, seen, line, 2))
            return false;
        first += len;
    }
    return true;
}

/* ---- ICMP ------------------------------------------------------------------------------------ */

bool run_icmp(struct run *run, const struct script_line *line)
{
    static const struct {
        const char *name;
        uint8_t type4, code4, type6, code6;
    } kinds[] = {
        {"net", 3, 0, 1, 0},       {"host", 3, 1, 1, 3},     {"proto", 3, 2, 4, 1},
        {"port", 3, 3, 1, 4},      {"admin", 3, 13, 1, 1},   {"toobig", 3, 4, 2, 0},
        {"exceeded", 11, 0, 3, 0}, {"quench", 4, 0, 100, 0}, {"param", 12, 0, 4, 0},
    };
    struct segment about = {.v6 = run->variant.v6, .flags = FRAME_ACK, .window = 1000};
    struct frame_side router;
    int64_t quote = run->peer->acked, rest = 0, bytes = 8, foreign = 0;
    uint8_t frame[FRAME_MAX];

    if (line->count < 2)
        return run_fail(run, "which ICMP error?");
    for (unsigned word = 2; word + 1 < line->count; word += 2) {
        int64_t *into = strcmp(line->words[word], "quote") == 0     ? &quote
                        : strcmp(line->words[word], "mtu") == 0     ? &rest
                        : strcmp(line->words[word], "bytes") == 0   ? &bytes
                        : strcmp(line->words[word], "foreign") == 0 ? &foreign
                                                                    : NULL;

        if (into == NULL || !run_number(run, line->words[word + 1], into))
            return run_fail(run, "what is %s?", line->words[word]);
    }
    host_side(CASE_HOST_NUMBER, run->variant.v6, HOST_SERVICE_PORT, &about.from);
    about.to = run->peer->side;
    about.to.port = (uint16_t)(about.to.port + foreign);
    about.seq = run->peer->irs + (uint32_t)quote;
    about.ack = run->peer->iss + 1;
    host_side(254, run->variant.v6, 0, &router);
    memcpy(router.mac, run->peer->side.mac, 6);
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, line->words[1]) != 0)
            continue;
        size_t len = frame_build_icmp(&about, &router, about.v6 ? kinds[i].type6 : kinds[i].type4,
                                      about.v6 ? kinds[i].code6 : kinds[i].code4, (uint32_t)rest,
                                      (size_t)bytes, frame, sizeof frame);

        if (!run_quiet(run))
            return false;
        port_push(run->host.port, frame, len, 0);
        run->mark_us = run->host.now_us;
        return run_settle(run);
    }
    return run_fail(run, "unknown ICMP error %s", line->words[1]);
}

bool run_handshake(struct run *run)
{
    static const struct script_line syn = {.count = 3, .words = {"<", "S", "0"}};
    static const struct script_line syn_ack = {.count = 5, .words = {">", "SA", "0", "ack", "1"}};
    static const struct script_line ack = {.count = 5, .words = {"<", "A", "1", "ack", "1"}};
    struct host_conn *conn;

    if (!run_inject(run, &syn, true) || !run_expect(run, &syn_ack))
        return false;
    host_advance(&run->host, HANDSHAKE_US);
    if (!run_inject(run, &ack, true))
        return false;
    conn = run_conn(run);
    if (conn == NULL || !conn->accepted || conn->closed)
        return run_fail(run, "the connection was not accepted");
    return run_quiet(run);
}
