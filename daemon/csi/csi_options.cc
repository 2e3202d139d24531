// SPDX-License-Identifier: MIT
#include "daemon/csi/csi_options.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ostream>
#include <string_view>

#include "core/base/error.h"
#include "core/base/message.h"

namespace pkgfs::csi {
namespace {

constexpr int kLongestPublish = 100;
constexpr int kLongestKeep = 3600;

struct Option {
  std::string_view name;
  std::string_view argument;  // empty: a switch
  std::string_view help;
  void (*set)(CsiOptions&, const std::string&);
};

std::chrono::milliseconds seconds(const std::string& text, int most) {
  double value = -1;
  const char* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, value).ptr != end || !(value >= 0 && value <= most)) {
    throw Error(ErrorCode::kUsage, "\"" + text + "\" isn't a number of seconds from 0 to " + std::to_string(most));
  }
  return std::chrono::milliseconds(static_cast<std::int64_t>(value * 1000));
}

/// The number of a process.
std::string number(const std::string& text) {
  const bool is_number = !text.empty() && text.size() < 10 && text.find_first_not_of("0123456789") == std::string::npos;
  if (!is_number || text.front() == '0') {
    throw Error(ErrorCode::kUsage, "\"" + text + "\" isn't the number of a process");
  }
  return text;
}

constexpr std::array<Option, 17> kOptions{{
    {"endpoint", "PATH", "the Unix socket of the driver (default: CSI_ENDPOINT, else the kubelet's plugin directory)",
     [](CsiOptions& options, const std::string& value) { options.endpoint = value; }},
    {"kubelet-registration-socket", "PATH",
     "register with the kubelet by this socket, in its directory plugins_registry; without it, a registrar does",
     [](CsiOptions& options, const std::string& value) { options.registration = value; }},
    {"kubelet-endpoint", "PATH", "where the kubelet finds the endpoint, if its path differs there",
     [](CsiOptions& options, const std::string& value) { options.advertised = value; }},
    {"driver-name", "NAME", "the name of the driver (default: csi.pkgfs)",
     [](CsiOptions& options, const std::string& value) { options.driver_name = value; }},
    {"node-id", "NAME", "the name of this node (default: NODE_NAME, else the host's name)",
     [](CsiOptions& options, const std::string& value) { options.node_id = value; }},
    {"state-dir", "DIR", "where the driver keeps what outlives it (default: /var/lib/pkgfs/csi)",
     [](CsiOptions& options, const std::string& value) { options.state_dir = value; }},
    {"mount-root", "DIR", "where packages are mounted, once for all pods (default: STATE-DIR/mounts)",
     [](CsiOptions& options, const std::string& value) { options.mount_root = value; }},
    {"cache-dir", "DIR", "the cache of packages (default: STATE-DIR/cache)",
     [](CsiOptions& options, const std::string& value) { options.cache_dir = value; }},
    {"local-root", "DIR", "accept paths of the node in volumes, if they are below DIR (default: accept none)",
     [](CsiOptions& options, const std::string& value) { options.local_root = value; }},
    {"program", "PATH", "the executable of pkgfs (default: pkgfs beside this one)",
     [](CsiOptions& options, const std::string& value) { options.program = value; }},
    {"publish-wait", "SECONDS",
     "how long a publish takes at most before the kubelet is to ask again (default: 20; at most 100, because the "
     "kubelet gives up after 120)",
     [](CsiOptions& options, const std::string& value) { options.publish_wait = seconds(value, kLongestPublish); }},
    {"keep", "SECONDS", "how long a mount stays that no pod uses (default: 10)",
     [](CsiOptions& options, const std::string& value) { options.keep = seconds(value, kLongestKeep); }},
    {"host-process", "PID",
     "in a container: mount where this process of the host does, and outside of the container's cgroup. The pod needs "
     "hostPID, and PID is 1",
     [](CsiOptions& options, const std::string& value) { options.host_process = number(value); }},
    {"metrics", "ADDRESS", "serve metrics for Prometheus at this address: HOST:PORT or a path",
     [](CsiOptions& options, const std::string& value) { options.metrics = value; }},
    {"log-level", "LEVEL", "debug, info, warning or error (default: info)",
     [](CsiOptions& options, const std::string& value) { options.log_level = value; }},
    {"help", "", "print this text", [](CsiOptions& options, const std::string&) { options.help = true; }},
    {"version", "", "print the version", [](CsiOptions& options, const std::string&) { options.version = true; }},
}};

void apply(CsiOptions& options, const std::string& argument) {
  const std::size_t equals = std::min(argument.find('='), argument.size());
  const std::string name = argument.substr(0, equals);
  const auto* const option =
      std::ranges::find_if(kOptions, [&](const Option& one) { return name == "--" + std::string(one.name); });
  if (option == kOptions.end()) {
    throw Error(ErrorCode::kUsage, "unknown option '" + argument + "' (see \"pkgfs-csi --help\")");
  }
  const bool has_value = equals < argument.size();
  if (has_value == option->argument.empty()) {
    throw Error(ErrorCode::kUsage,
                has_value ? "option '" + name + "' takes no value"
                          : "option '" + name + "' needs a value: " + name + "=" + std::string(option->argument));
  }
  try {
    option->set(options, has_value ? argument.substr(equals + 1) : std::string());
  } catch (Error& error) {
    throw std::move(error).context("option '" + name + "'");
  }
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

/// "unix:///run/x.sock" and "unix:/run/x.sock" name the path /run/x.sock.
std::string without_scheme(std::string endpoint) {
  for (const std::string_view scheme : {"unix://", "unix:"}) {
    if (endpoint.starts_with(scheme)) {
      return endpoint.substr(scheme.size());
    }
  }
  return endpoint;
}

}  // namespace

CsiOptions parse_csi_options(const std::vector<std::string>& arguments, const Environment& environment) {
  CsiOptions options;
  options.endpoint = environment("CSI_ENDPOINT").value_or(options.endpoint);
  options.node_id = environment("NODE_NAME").value_or("");
  for (const std::string& argument : arguments) {
    apply(options, argument);
  }
  options.endpoint = without_scheme(options.endpoint);
  const auto use_default = [](std::string& value, const std::string& otherwise) {
    value = value.empty() ? otherwise : value;
  };
  use_default(options.node_id, host_name());
  use_default(options.mount_root, options.state_dir + "/mounts");
  use_default(options.cache_dir, options.state_dir + "/cache");
  use_default(options.advertised, options.endpoint);
  const std::array<std::pair<std::string_view, const std::string*>, 5> paths{{{"endpoint", &options.endpoint},
                                                                              {"state-dir", &options.state_dir},
                                                                              {"mount-root", &options.mount_root},
                                                                              {"cache-dir", &options.cache_dir},
                                                                              {"program", &options.program}}};
  for (const auto& [name, path] : paths) {
    if (!path->empty() && !path->starts_with('/')) {
      throw Error(ErrorCode::kUsage, "option '--" + std::string(name) + "': \"" + *path + "\" isn't an absolute path");
    }
  }
  return options;
}

void print_csi_help(std::ostream& out) {
  out << "pkgfs-csi shows Wasmer packages as volumes of Kubernetes pods (Container Storage Interface).\n\n"
         "Usage: pkgfs-csi [--OPTION[=VALUE]...]\n\n";
  for (const Option& option : kOptions) {
    out << "  --" << option.name << (option.argument.empty() ? "" : "=") << option.argument << "\n        "
        << option.help << "\n";
  }
}

}  // namespace pkgfs::csi
