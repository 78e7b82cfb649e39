/* Which addresses the SSRF guard refuses: the first and last of each range, and their neighbours outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/kit/address.h"
#include "lib/kit/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static const char *const private_ones[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.0",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::ffff:0:192.168.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:1ff:ffff::",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:c0a8:101::",
    "3fff::1",
    "3fff:fff::1",
    "5f00::1",
    "fc00::",
    "fd12:3456::1",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff00::",
    "ff02::1",
};
static const char *const public_ones[] = {
    "1.0.0.0",         "1.1.1.1",          "8.8.8.8",         "9.255.255.255",
    "11.0.0.0",        "100.63.255.255",   "100.128.0.0",     "126.255.255.255",
    "128.0.0.0",       "169.253.255.255",  "169.255.0.0",     "172.15.255.255",
    "172.32.0.0",      "192.0.1.0",        "192.0.3.0",       "192.88.98.1",
    "192.167.255.255", "192.169.0.0",      "198.17.255.255",  "198.20.0.0",
    "198.51.101.0",    "203.0.114.0",      "223.255.255.255", "::8.8.8.8",
    "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8", "2001:200::1",     "2001:4860:4860::8888",
    "2001:db9::",      "2002:808:808::1",  "2606:4700::1",    "3ffe:ffff::",
    "3fff:1000::1",    "fbff::1",          "2a00:1450::1",
};
static const char *const no_addresses[] = {"",
                                           "localhost",
                                           "1.2.3",
                                           "1.2.3.4.5",
                                           "256.1.1.1",
                                           "0x7f.1",
                                           "[::1]",
                                           "fe80::1%eth0",
                                           "1.1.1.1 ",
                                           "1.1.1.1,10.0.0.1",
                                           "2001:4860:4860::8888::1"};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool is_private_on_a_socket(const char *text)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return address_socket_is_private((const struct sockaddr *)(const void *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return address_socket_is_private((const struct sockaddr *)(const void *)&v6);
}

static void test_private(void **state)
{
    for (size_t i = 0; i < COUNT(private_ones); i++) {
        if (!address_is_private(slice_from_cstr(private_ones[i])) || !is_private_on_a_socket(private_ones[i]))
            fail_msg("%s should be private", private_ones[i]);
    }
}

static void test_public(void **state)
{
    for (size_t i = 0; i < COUNT(public_ones); i++) {
        if (address_is_private(slice_from_cstr(public_ones[i])) || is_private_on_a_socket(public_ones[i]))
            fail_msg("%s should be public", public_ones[i]);
        assert_true(address_is_numeric(slice_from_cstr(public_ones[i])));
    }
}

static void test_what_is_no_address_is_refused(void **state)
{
    const struct sockaddr_un other = {.sun_family = AF_UNIX};
    for (size_t i = 0; i < COUNT(no_addresses); i++) {
        if (!address_is_private(slice_from_cstr(no_addresses[i])) || address_is_numeric(slice_from_cstr(no_addresses[i])))
            fail_msg("%s should be refused", no_addresses[i]);
    }
    assert_true(address_is_private(SLICE_ABSENT));
    assert_true(address_is_private(slice_of("8.8.8.8\0", 8)));
    assert_true(address_socket_is_private((const struct sockaddr *)(const void *)&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_public),
        cmocka_unit_test(test_what_is_no_address_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
