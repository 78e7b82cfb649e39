/* `myelin call` and `myelin user add`: one message to one worker, as any worker would send it. The supervisor says where the
 * workers are and gives the settings (the cluster's secret is among them); which worker of a kind gets it does not matter for
 * correctness. */
#include "supervisor/tool.h"

#include "lib/base/clock.h"
#include "lib/kit/wire.h"
#include "lib/matrix/ids.h"
#include "proto/message.h"
#include "supervisor/say.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>
#include <zmq.h>

enum { TIMEOUT_MS = 30000 };

static void running_settings(struct arena *arena, const struct options *options, struct settings *out)
{
    const struct json *answer = tool_ask(arena, options, "{\"do\":\"settings\"}");
    struct slice rest = json_get_string(answer, "lines"), line;
    const char *lines[1024], *error;
    size_t count = 0;
    while (count < 1024 && slice_cut(rest, '\n', &line, &rest))
        lines[count++] = arena_cstr(arena, line);
    if (!settings_load(arena, NULL, lines, count, out, &error))
        die("%s", error);
    out->data_folder = arena_cstr(arena, json_get_string(answer, "data"));
}

/* A live worker that answers the message; for those that any kind answers: the kind that `of` names, or whoever comes first. */
static const char *find_worker(struct arena *arena, const struct options *options, const struct message_facts *message,
                               const char *of)
{
    const struct json *answer = tool_ask(arena, options, "{\"do\":\"peers\"}");
    const char *kind = message->kind < SERVICE_COUNT ? service_facts(message->kind)->name : of;
    json_each (peer, json_get_array(answer, "peers")) {
        struct slice its = json_get_string(peer, "kind"), instance = json_get_string(peer, "instance");
        bool fits = !kind || slice_eq(its, slice_from_cstr(kind)) || slice_eq(instance, slice_from_cstr(kind));
        if (fits && !json_get_bool(peer, "draining", false))
            return arena_cstr(arena, json_get_string(peer, "endpoint"));
    }
    die("no worker of the kind %s is there to answer", kind ? kind : "asked for");
}

static void *connect_worker(struct arena *arena, const struct options *options, const char *endpoint, void *context)
{
    struct settings settings;
    running_settings(arena, options, &settings);
    void *socket = zmq_socket(context, ZMQ_DEALER);
    int wait = 0;
    if (!socket || !wire_secure_socket(context, socket, &settings, endpoint, false))
        die("cannot make a socket: %s", zmq_strerror(zmq_errno()));
    zmq_setsockopt(socket, ZMQ_IMMEDIATE, &wait, sizeof wait); /* one message: it may wait for the connection */
    if (zmq_connect(socket, endpoint) != 0)
        die("%s: %s", endpoint, zmq_strerror(zmq_errno()));
    return socket;
}

static enum fault exchange(struct arena *arena, void *socket, const struct message_facts *message, struct slice lane,
                           const struct packed *body, struct wire_message *answer)
{
    struct wire_message request = {.header = {.major = WIRE_MAJOR,
                                              .minor = WIRE_MINOR,
                                              .type = WIRE_REQUEST,
                                              .message = (uint16_t)message->id,
                                              .correlation = 1,
                                              .timeout_ms = TIMEOUT_MS,
                                              .lane = lane.len ? slice_hash(lane) : 0,
                                              .caller_rank = 0},
                                   .body = *body};
    if (getrandom(request.header.trace, sizeof request.header.trace, 0) < 0 || !wire_send(socket, &request))
        die("cannot send: %s", zmq_strerror(zmq_errno()));
    for (int64_t until_ms = clock_monotonic_ms() + TIMEOUT_MS, left; (left = until_ms - clock_monotonic_ms()) > 0;) {
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, (long)left) <= 0 || !wire_receive(socket, arena, false, answer))
            continue;
        if (answer->header.type == WIRE_REPLY && answer->header.correlation == 1)
            return (enum fault)answer->header.fault;
    }
    die("no answer within %d s", TIMEOUT_MS / 1000);
}

/* The reply's fault; its body in *answer, or the reason. */
static enum fault call_worker(struct arena *arena, const struct options *options, const struct message_facts *message,
                              const char *of, struct slice lane, const struct packed *body, struct wire_message *answer)
{
    const char *endpoint = find_worker(arena, options, message, of);
    void *context = zmq_ctx_new(), *socket = connect_worker(arena, options, endpoint, context);
    enum fault fault = exchange(arena, socket, message, lane, body, answer);
    zmq_close(socket);
    zmq_ctx_term(context);
    return fault;
}

int tool_call(struct arena *arena, const struct options *options)
{
    if (options->word_count < 2 || options->word_count > 4)
        die("call MESSAGE [JSON [KIND|INSTANCE]]");
    const struct message_facts *message = message_find_name(options->words[1]);
    if (!message)
        die("there is no message called %s; proto/messages/ has them", options->words[1]);
    struct slice json = options->word_count > 2 ? slice_from_cstr(options->words[2]) : SLICE("{}");
    struct packed body;
    if (message_from_json(arena, message, false, json, &body))
        die("the JSON does not fit the message %s", message->name);
    struct wire_message answer;
    enum fault fault =
        call_worker(arena, options, message, options->word_count > 3 ? options->words[3] : NULL, SLICE_ABSENT, &body, &answer);
    if (fault) {
        printf("{\"fault\":\"%s\",\"why\":\"%.*s\"}\n", fault_facts(fault)->name, PRI(answer.body.head));
        return 1;
    }
    struct slice text = message_to_json(arena, message, true, &answer.body);
    printf("%.*s\n", PRI(text));
    return 0;
}

/* ---- user add */

static const char *read_password(struct arena *arena)
{
    struct termios before, silent;
    char line[1024];
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (terminal) {
        fputs("Password: ", stderr);
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSANOW, &silent);
    }
    bool read = fgets(line, sizeof line, stdin);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
        fputc('\n', stderr);
    }
    line[read ? strcspn(line, "\n") : 0] = '\0';
    if (!line[0])
        die("a password is needed (--password, or the first line of the input)");
    const char *made = arena_printf(arena, "%s", line).at;
    explicit_bzero(line, sizeof line);
    return made;
}

int tool_user(struct arena *arena, const struct options *options)
{
    if (options->word_count != 3 || strcmp(options->words[1], "add") != 0)
        die("user add NAME [--password P] [--admin]");
    const struct json *status = tool_ask(arena, options, "{\"do\":\"status\"}");
    struct slice server = json_get_string(status, "server_name"), name = slice_from_cstr(options->words[2]);
    struct slice id = slice_starts_with(name, SLICE("@")) ? name : arena_printf(arena, "@%.*s:%.*s", PRI(name), PRI(server));
    if (!slice_eq(id_server_name(id), server) || !user_localpart_is_valid(id_localpart(id)))
        die("%.*s is not a user id that this server can have: a-z, 0-9 and . _ = - / + before :%.*s", PRI(id), PRI(server));
    struct user_create_request request = {
        .user_id = id,
        .password = slice_from_cstr(options->password ? options->password : read_password(arena)),
        .admin = options->admin,
    };
    const struct message_facts *message = message_find(MESSAGE_user_create);
    struct packed body;
    struct wire_message answer;
    message->pack_request(arena, &request, &body);
    enum fault fault = call_worker(arena, options, message, NULL, id, &body, &answer);
    if (fault)
        die("%s: %.*s", fault_facts(fault)->text, PRI(answer.body.head));
    say("%.*s can log in%s.", PRI(id), options->admin ? " and is an administrator" : "");
    return 0;
}
