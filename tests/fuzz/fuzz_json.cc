// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/webc/json_writer.h"
#include "core/webc/parse_json.h"

/// A JSON text: it is refused for a limit, or it is what nlohmann's own parser says, and is printed as that prints it,
/// or so that it means the same.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const webc::Json plain = webc::Json::parse(text, nullptr, false);
  try {
    const webc::Json ours = webc::parse_json(text);
    std::ostringstream out;
    webc::JsonWriter(out, webc::JsonWriter::kOrdered).value(ours);
    const std::string expected = plain.dump(2, ' ', false, webc::Json::error_handler_t::replace);
    // What could drive a terminal is escaped: then the text only means the same.
    const bool is_harmless = std::ranges::all_of(expected, [](char c) { return static_cast<unsigned char>(c) < 0x7f; });
    const bool is_same = is_harmless ? out.str() == expected : webc::Json::parse(out.str()) == plain;
    if (ours != plain || !is_same) {
      std::abort();
    }
  } catch (const Error& error) {
    const bool is_limit = !std::string_view(error.what()).starts_with("parse error");
    if (!is_limit && !plain.is_discarded()) {
      std::abort();
    }
  }
  return 0;
}
