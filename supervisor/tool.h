/* The commands of `myelin` that talk to a running supervisor, or look at a data folder. Each returns the exit code. */
#ifndef MYELIN_SUPERVISOR_TOOL_H
#define MYELIN_SUPERVISOR_TOOL_H

#include "lib/base/json.h"
#include "supervisor/options.h"

int tool_status(struct arena *arena, const struct options *options);
int tool_worker(struct arena *arena, const struct options *options);
int tool_calls(struct arena *arena, const struct options *options);
int tool_log_level(struct arena *arena, const struct options *options);
int tool_user(struct arena *arena, const struct options *options);
int tool_call(struct arena *arena, const struct options *options);
int tool_check(struct arena *arena, const struct options *options);

/* One request to the supervisor of the data folder; dies when there is none or it refuses. */
const struct json *tool_ask(struct arena *arena, const struct options *options, const char *request);

#endif
