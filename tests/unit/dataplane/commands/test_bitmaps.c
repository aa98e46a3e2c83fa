#include "tests/unit/dataplane/commands/journal_fixture.h"

TestSuite(bitmaps, .init = start, .fini = stop);

Test(bitmaps, setbit_changes_only_what_differs)
{
    expect_journal("SETBIT k 7 1", ":0\r\n", "0: SETBIT k 7 1\n");
    expect_journal("SETBIT k 7 1", ":1\r\n", "");
    expect_journal("SETBIT k 9 0", ":0\r\n", "0: SETBIT k 9 0\n");
    expect("STRLEN k", ":2\r\n");
    expect("GETBIT k 7", ":1\r\n");
    expect("GETBIT k 1000", ":0\r\n");
    expect("SETBIT k -1 0", "-ERR bit offset is not an integer or out of range\r\n");
    expect("SETBIT k 4294967296 0", "-ERR bit offset is not an integer or out of range\r\n");
    expect("SETBIT k 0 2", "-ERR bit is not an integer or out of range\r\n");
}

/* Redis lays the string out anew before it looks at the bit. */
Test(bitmaps, setbit_without_effect_makes_the_string_raw)
{
    expect("SET k 1", "+OK\r\n");
    expect_journal("SETBIT k 0 0", ":0\r\n", "");
    expect("OBJECT ENCODING k", "$3\r\nraw\r\n");
    expect("GET k", "$1\r\n1\r\n");
}

Test(bitmaps, bitcount_in_bytes_and_bits)
{
    expect("SET k foobar", "+OK\r\n");
    expect("BITCOUNT k", ":26\r\n");
    expect("BITCOUNT k 1 1", ":6\r\n");
    expect("BITCOUNT k 5 30 BIT", ":17\r\n");
    expect("BITCOUNT k -2 -1 BYTE", ":7\r\n");
    expect("BITCOUNT k -1 -2", ":0\r\n");
    expect("BITCOUNT k -1 -2 WORD", ":0\r\n");
    expect("BITCOUNT k 0", "-ERR syntax error\r\n");
    expect("BITCOUNT k 0 1 WORD", "-ERR syntax error\r\n");
    expect("BITCOUNT none 0 1", ":0\r\n");
}

Test(bitmaps, bitpos_looks_at_whole_words)
{
    expect("SETBIT k 999 1", ":0\r\n");
    expect("BITPOS k 1", ":999\r\n");
    expect("BITPOS k 1 0 123", ":-1\r\n");
    expect("BITPOS k 1 990 998 BIT", ":-1\r\n");
    expect("BITPOS k 1 990 999 BIT", ":999\r\n");
    expect("BITPOS k 0 999 999 BIT", ":-1\r\n");
    expect("BITPOS k 0", ":0\r\n");
    expect("SET ones \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\"", "+OK\r\n");
    expect("BITPOS ones 0", ":72\r\n");
    expect("BITPOS ones 0 0 -1", ":-1\r\n");
    expect("BITPOS ones 1 3 7 BIT", ":3\r\n");
    expect("BITPOS none 0", ":0\r\n");
    expect("BITPOS none 1", ":-1\r\n");
    expect("BITPOS k 2", "-ERR The bit argument must be 1 or 0.\r\n");
    expect("BITPOS ones 1 -100 -99", ":0\r\n");
}

Test(bitmaps, bitop_pads_the_shorter_sources)
{
    expect("MSET a abcd b ab", "+OK\r\n");
    expect("BITOP AND r a b", ":4\r\n");
    expect("GET r", "$4\r\nab");
    expect("BITOP OR r a b", ":4\r\n");
    expect("GET r", "$4\r\nabcd\r\n");
    expect("BITOP XOR r a a", ":4\r\n");
    expect("BITCOUNT r", ":0\r\n");
    expect("BITOP NOT r none", ":0\r\n");
    expect("EXISTS r", ":0\r\n");
    expect("BITOP NOT r a b", "-ERR BITOP NOT must be called with a single source key.\r\n");
    expect("BITOP NAND r a", "-ERR syntax error\r\n");
}
