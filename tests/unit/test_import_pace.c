/* The pace of an import against machines that are made up: what a transaction takes is a cost of its own and one per row, steady,
 * slow for a while, or with hiccups that have nothing to do with its rows. MYELIN_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "workers/events/import_pace.c"

enum {
    MACHINES = 2000,
    SETTLED = 100, /* transactions after which the pace has found its size, from wherever */
    HALVINGS = 3   /* from the most rows to the least */
};

static uint64_t chance;

static int64_t below(int64_t bound)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((chance >> 33) % (uint64_t)bound);
}

static void seed(void)
{
    const char *given = getenv("MYELIN_SEED");
    chance = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("MYELIN_SEED=%llu\n", (unsigned long long)chance);
}

/* ---- a machine */
struct machine {
    int64_t once_us, row_us;
};

/* From one that could write thousands of rows to one on which the least rows take too long. */
static struct machine any_machine(void)
{
    return (struct machine){.once_us = below(IMPORT_WRITE_LONG_US * 3 / 4), .row_us = 1 + below(1 + below(1 + below(1500)))};
}

static int64_t cost(struct machine machine, size_t rows)
{
    return machine.once_us + machine.row_us * (int64_t)rows;
}

/* The most rows that it writes in time, as far as the pace may go. */
static size_t most_rows(struct machine machine)
{
    size_t rows = IMPORT_ROWS_MAX;
    while (rows > IMPORT_ROWS_MIN && cost(machine, rows) > IMPORT_WRITE_LONG_US)
        rows--;
    return rows;
}

static int64_t write_on(struct machine machine, struct import_pace *pace)
{
    int64_t took_us = cost(machine, pace->rows);
    import_pace_took(pace, pace->rows, took_us);
    assert_in_range(pace->rows, IMPORT_ROWS_MIN, IMPORT_ROWS_MAX);
    return took_us;
}

static void settle(struct machine machine, struct import_pace *pace)
{
    for (int i = 0; i < SETTLED; i++)
        write_on(machine, pace);
}

/* What is to hold from then on: never long by more than the last small step, unless nothing less is allowed, and never fewer rows
 * than half of what is possible. */
static void expect_settled(struct machine machine, struct import_pace *pace)
{
    size_t most = most_rows(machine);
    for (int i = 0; i < SETTLED; i++) {
        assert_true(pace->rows >= most / 2);
        assert_true(pace->rows <= most + most / 32 + 1);
        int64_t took_us = write_on(machine, pace);
        if (most > IMPORT_ROWS_MIN)
            assert_in_range(took_us, 1, IMPORT_WRITE_LONG_US + IMPORT_WRITE_LONG_US / 8); /* 45 ms: within the 50 of DESIGN §8 */
    }
}

/* ---- single steps */
static void steps(void **state)
{
    const int64_t long_us = IMPORT_WRITE_LONG_US;
    static const struct {
        const char *name;
        size_t rows, written;
        int64_t took_ms; /* of 40 */
        size_t then;
    } cases[] = {
        {"long: half", 200, 200, 41, 100},
        {"very long: half as well", 200, 200, 4000, 100},
        {"long, though few were written", 200, 3, 41, 100},
        {"long, nobody knows for how many", 200, 0, 41, 100},
        {"long, at the least", IMPORT_ROWS_MIN, IMPORT_ROWS_MIN, 41, IMPORT_ROWS_MIN},
        {"half would be below the least", IMPORT_ROWS_MIN + 2, IMPORT_ROWS_MIN + 2, 41, IMPORT_ROWS_MIN},
        {"just in time: a small step", 128, 128, 40, 132},
        {"in time: a small step", 128, 128, 11, 132},
        {"quick: a large step", 128, 128, 9, 160},
        {"quick, with fewer than allowed", 128, 127, 1, 128},
        {"quick, nobody knows for how many", 128, 0, 1, 128},
        {"quick, with more than allowed now", 128, 250, 1, 160},
        {"quick, at the most", IMPORT_ROWS_MAX, IMPORT_ROWS_MAX, 1, IMPORT_ROWS_MAX},
        {"quick, near the most", IMPORT_ROWS_MAX - 1, IMPORT_ROWS_MAX - 1, 1, IMPORT_ROWS_MAX},
    };
    assert_int_equal(long_us, 40000);
    struct import_pace pace = {0};
    import_pace_start(&pace);
    assert_int_equal(pace.rows, IMPORT_ROWS_MIN); /* small at first */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pace.rows = cases[i].rows;
        import_pace_took(&pace, cases[i].written, cases[i].took_ms * 1000);
        if (pace.rows != cases[i].then)
            fail_msg("%s: %zu rows, not %zu", cases[i].name, pace.rows, cases[i].then);
    }
}

/* ---- machines */
static void quiet_machine(void **state)
{
    struct import_pace pace;
    import_pace_start(&pace);
    size_t written = 0, count = 0;
    for (; pace.rows < IMPORT_ROWS_MAX && count < SETTLED; count++) {
        written += pace.rows;
        write_on((struct machine){1500, 10}, &pace);
    }
    assert_true(count <= 12 && written <= 2000); /* little of a large room goes by in small transactions */
}

static void steady_machines(void **state)
{
    seed();
    for (int i = 0; i < MACHINES; i++) {
        struct machine machine = any_machine();
        struct import_pace pace;
        import_pace_start(&pace);
        settle(machine, &pace);
        expect_settled(machine, &pace);
    }
}

/* Slow between two good times: it may take long for as often as it needs to be halved, and what was lost is regained. */
static void slow_spells(void **state)
{
    seed();
    for (int i = 0; i < MACHINES; i++) {
        struct machine machine = any_machine(), slow = machine;
        struct import_pace pace;
        import_pace_start(&pace);
        settle(machine, &pace);
        slow.row_us *= 2 + below(50);
        int in_a_row = 0;
        for (int64_t left = below(2 * SETTLED); left > 0; left--) {
            bool is_least = pace.rows == IMPORT_ROWS_MIN;
            in_a_row = write_on(slow, &pace) > IMPORT_WRITE_LONG_US && !is_least ? in_a_row + 1 : 0;
            assert_true(in_a_row <= HALVINGS);
        }
        settle(machine, &pace);
        expect_settled(machine, &pace);
    }
}

/* A disk that stalls now and then says nothing about rows. The fewer there are then, the more transactions meet it. */
static void rare_hiccups(void **state)
{
    seed();
    struct machine machine = {.once_us = IMPORT_WRITE_LONG_US / 3, .row_us = 20};
    struct import_pace pace;
    import_pace_start(&pace);
    settle(machine, &pace);
    size_t sum = 0, count = 0;
    for (int hiccups = 0; hiccups < 200; hiccups++) {
        import_pace_took(&pace, pace.rows, IMPORT_WRITE_LONG_US + 1 + below(IMPORT_WRITE_LONG_US * 10));
        for (int64_t left = 25 + below(50); left > 0; left--, count++) {
            write_on(machine, &pace);
            sum += pace.rows;
        }
    }
    assert_true(sum / count > IMPORT_ROWS_MAX * 3 / 4);
}

/* One in four is long: that is not rare, and fewer rows are all that can be done about it. */
static void frequent_hiccups(void **state)
{
    seed();
    struct machine machine = {.once_us = IMPORT_WRITE_LONG_US / 3, .row_us = 20};
    struct import_pace pace = {IMPORT_ROWS_MAX};
    size_t last = 0;
    for (int i = 0; i < SETTLED; i++) {
        for (int k = 0; k < 3; k++)
            write_on(machine, &pace);
        import_pace_took(&pace, pace.rows, IMPORT_WRITE_LONG_US * 2);
        last = pace.rows;
    }
    assert_int_equal(last, IMPORT_ROWS_MIN);
}

/* Whatever it is told, the rows stay within their bounds and grow by a quarter at most. */
static void any_history(void **state)
{
    static const int64_t odd[] = {INT64_MIN, -1, 0, 1, IMPORT_WRITE_LONG_US, IMPORT_WRITE_LONG_US + 1, INT64_MAX};
    seed();
    struct import_pace pace;
    import_pace_start(&pace);
    for (int i = 0; i < 200000; i++) {
        size_t before = pace.rows, rows = below(3) ? before : (size_t)below(2 * IMPORT_ROWS_MAX);
        int64_t took_us = below(4) ? below(2 * IMPORT_WRITE_LONG_US) : odd[below(sizeof odd / sizeof *odd)];
        import_pace_took(&pace, below(50) ? rows : SIZE_MAX, took_us);
        assert_in_range(pace.rows, IMPORT_ROWS_MIN, IMPORT_ROWS_MAX);
        assert_true(pace.rows <= before + before / 4);
        assert_true(pace.rows >= before / 2);
        assert_true(pace.rows <= before || took_us <= IMPORT_WRITE_LONG_US);
        assert_true(pace.rows >= before || took_us > IMPORT_WRITE_LONG_US);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps),       cmocka_unit_test(quiet_machine), cmocka_unit_test(steady_machines),
        cmocka_unit_test(slow_spells), cmocka_unit_test(rare_hiccups),  cmocka_unit_test(frequent_hiccups),
        cmocka_unit_test(any_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
