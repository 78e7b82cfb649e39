/* What the supervisor refuses before it starts or writes anything. */
#include "supervisor_play.h"

static int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int on = 1, made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(made, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on); /* as a frontend does */
    assert_int_equal(bind(made, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(made, 1), 0);
    assert_int_equal(getsockname(made, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return made;
}

/* What cannot work is refused before anything starts, in words that name it. */
static void test_refusals(void **state)
{
    int port, taken = listen_somewhere(&port);
    const char *in_use = arena_printf(arena, "client_listen=127.0.0.1:%d", port).at;
    const char *says_in_use = arena_printf(arena, "client_listen 127.0.0.1:%d is in use", port).at;
    const struct {
        const char *setting, *says;
    } refused[] = {
        {in_use, says_in_use},
        {"federation_listen=127.0.0.1", "federation_listen: \"127.0.0.1\" is not address:port"},
        {"client_listen=127.0.0.1:0,ssl", "client_listen: \"ssl\" is not address:port"},
        {"client_listen=no.such.host.invalid:80", "client_listen no.such.host.invalid:80 "},
        {"bus_listen=0.0.0.0", "bus_listen: 0.0.0.0 is no address that other machines can connect to"},
        {"bus_listen=10.0.0.1:7000", "bus_listen: \"10.0.0.1:7000\" must be a numeric address without a port"},
        {"bus_listen=host.example", "bus_listen: \"host.example\" must be a numeric address without a port"},
        {"bus_listen=fd00::1", "bus_listen: an IPv6 address wants brackets: \\[fd00::1\\]"},
        {"bus_listen=[fd00::1]", "bus_listen needs cluster_secret"},
        {"password_cost=free", "password_cost: must be one of: normal cheap"},
        {"default_room_version=13", "default_room_version: must be one of"},
        {"server_name=bad name", "server_name \"bad name\" is not a valid server name"},
        {"replicas=rooms=0,signing=0,frontend=0", "there is nothing to run"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        int status = shell("timeout 20 %s/doors/myelin up --data %s/refused --schema " MYELIN_SOURCE_DIR
                           "/schema --server-name test.example --set federation_listen=127.0.0.1:0 --set client_listen=127.0.0.1:0 "
                           "--set '%s' >%s/why 2>&1",
                           folder, folder, refused[i].setting, folder);
        if (status != 1 || shell("grep -q '%s' %s/why", refused[i].says, folder) != 0) {
            shell("cat %s/why", folder);
            fail_msg("--set %s: exit %d", refused[i].setting, status);
        }
        assert_int_equal(shell("test -e %s/refused/postgres", folder), 1);
    }
    close(taken);
}

static void test_init_refuses_before_it_writes(void **state)
{
    assert_int_equal(shell("%s init --data %s/unnamed --schema " MYELIN_SOURCE_DIR "/schema --server-name 'bad name' 2>%s/why",
                           program, folder, folder),
                     1);
    assert_int_equal(shell("grep -q 'not a valid server name' %s/why", folder), 0);
    assert_int_equal(shell("test -e %s/unnamed/config.yaml -o -e %s/unnamed/signing.key", folder, folder), 1);
}

int main(int argc, char **argv)
{
    play_begin(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_init_refuses_before_it_writes),
    };
    return play_end(cmocka_run_group_tests(tests, NULL, NULL));
}
