// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/settings.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"

namespace pkgfs {

int cmd_config(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kConfig, args, 0, 0);
  set_log_level(options.log);
  const Settings settings = load_settings(options.tree.network, io.environment);
  nlohmann::json list = nlohmann::json::array();
  for (const Settings::Row& row : settings.rows) {
    if (options.json) {
      list.push_back({{"name", row.name}, {"value", row.value}, {"origin", row.origin}});
    } else {
      TextWriter(*io.out).print("{:<18}{}  ({})\n", row.name, row.value, row.origin);
    }
  }
  if (options.json) {
    print_json(*io.out, list);
  }
  return kExitOk;
}

}  // namespace pkgfs
