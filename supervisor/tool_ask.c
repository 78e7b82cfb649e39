/* The tool's side of data/run/supervisor.sock: connect, one line out, one line back. */
#include "supervisor/tool.h"

#include "supervisor/folder.h"
#include "supervisor/say.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(struct arena *arena, const struct options *options)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = folder_tool_socket(arena, options->data);
    if (!path || strlen(path) >= sizeof address.sun_path)
        die("%s is not a data folder; --data names it", options->data);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0 || connect(made, (struct sockaddr *)&address, sizeof address) != 0) {
        if (errno == EACCES)
            die("%s: permission denied; run this as root or as the account that Myelin runs under", path);
        die("no Myelin is running on the data folder %s (%s)", options->data, strerror(errno));
    }
    return made;
}

const struct json *tool_ask(struct arena *arena, const struct options *options, const char *request)
{
    char block[16384];
    int descriptor = connect_to(arena, options);
    struct slice line = arena_printf(arena, "%s\n", request);
    struct strbuf text = strbuf_in(arena);
    if (send(descriptor, line.at, line.len, MSG_NOSIGNAL) != (ssize_t)line.len)
        die("the supervisor does not listen: %s", strerror(errno));
    while (!text.len || text.at[text.len - 1] != '\n') {
        ssize_t got = recv(descriptor, block, sizeof block, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            die("the supervisor ended before it answered");
        strbuf_add(&text, slice_of(block, (size_t)got));
    }
    close(descriptor);
    const struct json *answer = json_parse(arena, strbuf_slice(&text), JSON_LAX, NULL);
    if (!answer)
        die("the supervisor's answer is not JSON");
    struct slice error = json_get_string(answer, "error");
    if (error.len)
        die("%.*s", PRI(error));
    return answer;
}
