#include "tests/unit/dataplane/commands/journal_fixture.h"

TestSuite(bitfield, .init = start, .fini = stop);

Test(bitfield, sets_gets_and_adds)
{
    expect_journal("BITFIELD k SET u8 0 200 GET u4 0 INCRBY i5 100 1", "*3\r\n:0\r\n:12\r\n:1\r\n",
                   "0: BITFIELD k SET u8 0 200 GET u4 0 INCRBY i5 100 1\n");
    expect("STRLEN k", ":14\r\n");
    expect("BITFIELD k GET i8 #0", "*1\r\n:-56\r\n");
    expect("BITFIELD_RO k GET u8 0", "*1\r\n:200\r\n");
    expect("BITFIELD_RO k SET u8 0 1", "-ERR BITFIELD_RO only supports the GET subcommand\r\n");
    expect("BITFIELD none GET u8 0", "*1\r\n:0\r\n");
    expect("EXISTS none", ":0\r\n");
}

Test(bitfield, overflow_wraps_saturates_or_fails)
{
    expect("BITFIELD k SET u8 0 255", "*1\r\n:0\r\n");
    expect("BITFIELD k INCRBY u8 0 1", "*1\r\n:0\r\n");
    expect("BITFIELD k OVERFLOW SAT INCRBY u8 0 300", "*1\r\n:255\r\n");
    expect("BITFIELD k OVERFLOW SAT INCRBY u8 0 -300", "*1\r\n:0\r\n");
    expect("BITFIELD k OVERFLOW SAT SET i8 0 -300", "*1\r\n:0\r\n");
    expect("BITFIELD k GET i8 0", "*1\r\n:-128\r\n");
    expect_journal("BITFIELD k OVERFLOW FAIL INCRBY i8 0 -1", "*1\r\n$-1\r\n", "");
    expect("BITFIELD k SET i64 0 9223372036854775807", "*1\r\n:-9223372036854775808\r\n");
    expect("BITFIELD k INCRBY i64 0 1", "*1\r\n:-9223372036854775808\r\n");
}

/* As Redis does it: how far these are from the highest number overflows. */
Test(bitfield, the_lowest_numbers_saturate_upwards)
{
    expect("BITFIELD k OVERFLOW SAT SET i16 0 -9223372036854775808", "*1\r\n:0\r\n");
    expect("BITFIELD k GET i16 0", "*1\r\n:32767\r\n");
    expect("BITFIELD k OVERFLOW SAT SET i16 0 -9223372036854743040", "*1\r\n:32767\r\n");
    expect("BITFIELD k GET i16 0", "*1\r\n:-32768\r\n");
}

Test(bitfield, a_call_without_effect_is_no_change)
{
    expect("BITFIELD k SET u8 0 1", "*1\r\n:0\r\n");
    expect_journal("BITFIELD k SET u8 0 1 INCRBY u8 0 256", "*2\r\n:1\r\n:1\r\n", "");
    expect_journal("BITFIELD k SET u8 8 0", "*1\r\n:0\r\n", "0: BITFIELD k SET u8 8 0\n");
}

Test(bitfield, refuses_types_and_offsets_before_it_changes_anything)
{
    static const char type[] =
        "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 "
        "is not supported but i64 is.\r\n";

    expect("BITFIELD k SET u8 0 1 GET u64 0", type);
    expect("BITFIELD k GET i65 0", type);
    expect("BITFIELD k GET x8 0", type);
    expect("BITFIELD k GET u8 -1", "-ERR bit offset is not an integer or out of range\r\n");
    expect("BITFIELD k GET u8 #4611686018427387904",
           "-ERR bit offset is not an integer or out of range\r\n");
    expect("BITFIELD k OVERFLOW NO GET u8 0", "-ERR Invalid OVERFLOW type specified\r\n");
    expect("BITFIELD k SET u8 0", "-ERR syntax error\r\n");
    expect("EXISTS k", ":0\r\n");
}
