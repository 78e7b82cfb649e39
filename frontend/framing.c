/* See framing.h. */
#include "frontend/framing.h"

const char *framing_error(struct slice head, bool needs_host)
{
    struct slice rest = head, line, name, value, length = SLICE_ABSENT;
    bool has_length = false, has_encoding = false, has_host = false;
    if (!slice_cut(rest, '\n', &line, &rest))
        return NULL;
    while (slice_cut(rest, '\n', &line, &rest)) {
        if (line.len && line.at[line.len - 1] == '\r')
            line.len--;
        if (line.len == 0)
            break;
        if (line.at[0] == ' ' || line.at[0] == '\t')
            return "a folded header line";
        if (!slice_cut(line, ':', &name, &value))
            continue;
        if (slice_eq(name, SLICE("content-length"))) {
            value = slice_trim(value);
            if (has_length && !slice_eq(value, length))
                return "two Content-Length headers";
            has_length = true;
            length = value;
        } else if (slice_eq(name, SLICE("transfer-encoding"))) {
            if (has_encoding)
                return "two Transfer-Encoding headers";
            has_encoding = true;
        } else if (slice_eq(name, SLICE("host"))) {
            if (has_host)
                return "two Host headers";
            has_host = true;
        }
    }
    if (has_length && has_encoding)
        return "both Content-Length and Transfer-Encoding";
    return has_host || !needs_host ? NULL : "no Host header";
}
