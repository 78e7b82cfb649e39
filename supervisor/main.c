/* `myelin`: the supervisor and the operator's tool. One table of commands. */
#include "supervisor/say.h"
#include "supervisor/supervisor.h"
#include "supervisor/tool.h"

#include "lib/base/log.h"

#include <stdio.h>

static struct supervisor supervisor;

static int command_up(struct arena *arena, const struct options *options)
{
    supervisor_prepare(&supervisor, arena, options, true);
    return supervisor_run(&supervisor);
}

static int command_init(struct arena *arena, const struct options *options)
{
    supervisor_prepare(&supervisor, arena, options, false);
    return supervisor_close(&supervisor);
}

static int command_config(struct arena *arena, const struct options *options)
{
    struct slice text = settings_document(arena);
    return fwrite(text.at, 1, text.len, stdout) == text.len ? 0 : 1;
}

static int command_version(struct arena *arena, const struct options *options)
{
    puts("Myelin " MYELIN_VERSION);
    return 0;
}

static int command_help(struct arena *arena, const struct options *options);

static const struct {
    const char *name, *arguments, *what;
    int (*run)(struct arena *arena, const struct options *options);
} commands[] = {
    {"up", "", "starts everything and stays; Ctrl-C drains and stops it", command_up},
    {"init", "", "prepares the data folder and its database, then stops", command_init},
    {"status", "", "the processes and how they are", tool_status},
    {"check", "", "looks for mistakes: settings, keys, database, DNS, TLS, well-known", tool_check},
    {"user", "add NAME [--password P] [--admin]", "makes a user; asks for the password when none is given", tool_user},
    {"worker", "list | drain INSTANCE|KIND", "the live workers; replaces one without a gap", tool_worker},
    {"calls", "", "what each thread of each worker does now", tool_calls},
    {"call", "MESSAGE JSON", "sends any message of the bus by hand", tool_call},
    {"log-level", "error|warn|info|debug", "of all processes, until the next start", tool_log_level},
    {"config", "", "describes every key of the configuration", command_config},
    {"version", "", "", command_version},
    {"help", "", "this", command_help},
};

static int command_help(struct arena *arena, const struct options *options)
{
    puts("Myelin " MYELIN_VERSION ", a Matrix homeserver\n\nmyelin COMMAND [OPTIONS]");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const char *both = arena_printf(arena, "%s %s", commands[i].name, commands[i].arguments).at;
        printf("  %-38s %s\n", both, commands[i].what);
    }
    puts("\nOptions\n"
         "  --data FOLDER               config, keys, database, sockets; default: data\n"
         "  --config FILE               default: config.yaml in the data folder\n"
         "  --server-name NAME          written to config.yaml at the first start\n"
         "  --client-listen ADDRESS     address:port[,tls], comma separated\n"
         "  --federation-listen ADDRESS\n"
         "  --set KEY=VALUE             any key of the configuration; may be repeated\n"
         "  --only KINDS                run these kinds of workers only, comma separated\n"
         "  --schema FOLDER             migrations; default: found beside the program\n"
         "  --quiet                     nothing on standard output");
    return 0;
}

int main(int argc, char **argv)
{
    struct arena *arena = arena_create(256 * 1024 * 1024);
    struct options options;
    log_init("supervisor", LOG_INFO);
    options_parse(arena, argc, argv, &options);
    const char *name = options.help || !options.word_count ? "help" : options.words[0];
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        int code = commands[i].run(arena, &options);
        arena_destroy(&arena);
        return code;
    }
    die("there is no command \"%s\"; `myelin help` lists them", name);
}
