/* The one C++ file of the house: a second opinion on JSON, linked into a test and nowhere else. */
#include "json_oracles.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <simdjson.h>
#include <string>
#include <vector>

namespace dom = simdjson::dom;

static void write_string(std::string &out, std::string_view text)
{
    static const char letters[] = "btnvfr"; /* from 0x08; \v is no JSON escape */
    out += '"';
    for (char c : text) {
        unsigned char byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte >= 0x08 && byte <= 0x0d && byte != 0x0b) {
            out += '\\';
            out += letters[byte - 0x08];
        } else if (byte < 0x20) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", byte);
            out += escape;
        } else {
            out += c;
        }
    }
    out += '"';
}

static void write_real(std::string &out, double number)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", number);
    out += text;
}

static void write_value(std::string &out, dom::element value);

static void write_object(std::string &out, dom::object object)
{
    std::vector<dom::key_value_pair> members;
    for (dom::key_value_pair member : object)
        members.push_back(member);
    std::stable_sort(members.begin(), members.end(), [](const auto &a, const auto &b) { return a.key < b.key; });
    out += '{';
    for (size_t i = 0; i < members.size(); i++) {
        if (i)
            out += ',';
        write_string(out, members[i].key);
        out += ':';
        write_value(out, members[i].value);
    }
    out += '}';
}

static void write_array(std::string &out, dom::array array)
{
    bool comma = false;
    out += '[';
    for (dom::element element : array) {
        if (comma)
            out += ',';
        comma = true;
        write_value(out, element);
    }
    out += ']';
}

static void write_value(std::string &out, dom::element value)
{
    switch (value.type()) {
    case dom::element_type::OBJECT:
        return write_object(out, dom::object(value));
    case dom::element_type::ARRAY:
        return write_array(out, dom::array(value));
    case dom::element_type::STRING:
        return write_string(out, std::string_view(value));
    case dom::element_type::INT64:
        out += std::to_string(int64_t(value));
        return;
    case dom::element_type::UINT64:
        out += std::to_string(uint64_t(value));
        return;
    case dom::element_type::DOUBLE:
        return write_real(out, double(value));
    case dom::element_type::BOOL:
        out += bool(value) ? "true" : "false";
        return;
    case dom::element_type::NULL_VALUE:
        out += "null";
        return;
    }
}

char *simdjson_canonical(const char *text, size_t len, size_t *canonical_len)
{
    static dom::parser parser;
    dom::element root;
    if (parser.parse(text, len).get(root) != simdjson::SUCCESS) /* copies, so that it may read beyond the end */
        return nullptr;
    std::string out;
    write_value(out, root);
    char *copy = static_cast<char *>(malloc(out.size() + 1));
    memcpy(copy, out.data(), out.size());
    *canonical_len = out.size();
    return copy;
}
