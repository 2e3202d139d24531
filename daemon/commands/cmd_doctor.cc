// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/doctor/check_mounts.h"
#include "daemon/doctor/check_packages.h"
#include "daemon/doctor/check_system.h"
#include "daemon/packages/interrupt.h"

namespace pkgfs {
namespace {

constexpr int kProblems = 1;

void print_text(TextWriter out, const doctor::Findings& findings) {
  for (const doctor::Finding& found : findings) {
    out.print("{:<9}{:<13}{}\n", to_string(found.level), found.check, found.said);
    if (!found.advice.empty()) {
      out.print("{:<22}-> {}\n", "", found.advice);
    }
  }
}

void print_document(const Io& io, const doctor::Findings& findings, std::size_t problems, std::size_t warnings) {
  nlohmann::json checks = nlohmann::json::array();
  for (const doctor::Finding& found : findings) {
    checks.push_back({{"check", found.check},
                      {"level", to_string(found.level)},
                      {"said", found.said},
                      {"advice", found.advice.empty() ? nlohmann::json() : nlohmann::json(found.advice)}});
  }
  print_json(*io.out, {{"checks", std::move(checks)}, {"problems", problems}, {"warnings", warnings}});
}

}  // namespace

int cmd_doctor(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kDoctor, args, 0, 0);
  set_log_level(options.log);
  CancelFlag interrupt;
  const InterruptGuard guard(interrupt);
  doctor::Findings findings;
  // The first two checks fork: they must run before the network starts threads.
  doctor::check_system(findings);
  doctor::check_mounts(findings);
  doctor::check_packages(findings, options.tree.network, io.environment, interrupt);
  const auto count = [&findings](doctor::Level level) {
    return static_cast<std::size_t>(std::ranges::count(findings, level, &doctor::Finding::level));
  };
  const std::size_t problems = count(doctor::Level::kProblem);
  const std::size_t warnings = count(doctor::Level::kWarning);
  if (options.json) {
    print_document(io, findings, problems, warnings);
  } else {
    print_text(TextWriter(*io.out), findings);
    const auto counted = [](std::size_t number, const char* what) {
      return fmt::format("{} {}{}", number, what, number == 1 ? "" : "s");
    };
    TextWriter(*io.out) << '\n' << counted(problems, "problem") << ", " << counted(warnings, "warning") << '\n';
  }
  return problems == 0 ? kExitOk : kProblems;
}

}  // namespace pkgfs
