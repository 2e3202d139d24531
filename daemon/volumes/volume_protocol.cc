// SPDX-License-Identifier: MIT
#include "daemon/volumes/volume_protocol.h"

#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/webc/parse_json.h"
#include "daemon/cli/json_output.h"

namespace pkgfs {
namespace {

using Json = nlohmann::json;

constexpr unsigned kNotFound = 404;
constexpr unsigned kBadMethod = 405;
constexpr unsigned kFailed = 500;

/// A request that is not valid in the protocol.
class BadRequest : public Error {
 public:
  explicit BadRequest(std::string text) : Error(ErrorCode::kUsage, std::move(text)) {}
};

PluginAnswer ok(Json body) {
  body.emplace("Err", "");
  return {.status = 200, .body = json_line(body), .undo = {}};
}

/// The string at `key`, which must exist.
std::string text_of(const Json& body, const char* key) {
  const auto found = body.find(key);
  if (found == body.end()) {
    throw BadRequest(std::string("the request has no \"") + key + "\"");
  }
  if (!found->is_string()) {
    throw BadRequest(std::string("\"") + key + "\" in the request isn't a string");
  }
  return found->get<std::string>();
}

std::string id_of(const Json& body) { return body.contains("ID") ? text_of(body, "ID") : std::string(); }

DriverOptions options_of(const Json& body) {
  DriverOptions options;
  const auto found = body.find("Opts");
  if (found == body.end() || found->is_null()) {
    return options;
  }
  if (!found->is_object()) {
    throw BadRequest("\"Opts\" in the request isn't an object");
  }
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string()) {
      throw BadRequest("the value of the option '" + key + "' in the request isn't a string");
    }
    options.emplace(key, value.get<std::string>());
  }
  return options;
}

Json describe(const VolumeDescription& volume) {
  Json json{{"Name", volume.name}, {"Mountpoint", volume.mountpoint}, {"Status", volume.status}};
  if (!volume.created.empty()) {
    json["CreatedAt"] = volume.created;
  }
  return json;
}

PluginAnswer activate(const Json& /*body*/, VolumeDriver& /*driver*/) {
  return {.status = 200, .body = R"({"Implements":["VolumeDriver"]})", .undo = {}};
}

PluginAnswer capabilities(const Json& /*body*/, VolumeDriver& /*driver*/) {
  return {.status = 200, .body = R"({"Capabilities":{"Scope":"local"}})", .undo = {}};
}

PluginAnswer create(const Json& body, VolumeDriver& driver) {
  driver.create(text_of(body, "Name"), options_of(body));
  return ok(Json::object());
}

PluginAnswer get(const Json& body, VolumeDriver& driver) {
  return ok({{"Volume", describe(driver.get(text_of(body, "Name")))}});
}

PluginAnswer list(const Json& /*body*/, VolumeDriver& driver) {
  Json volumes = Json::array();
  for (const VolumeDescription& volume : driver.list()) {
    volumes.push_back(describe(volume));
  }
  return ok({{"Volumes", std::move(volumes)}});
}

PluginAnswer path(const Json& body, VolumeDriver& driver) {
  return ok({{"Mountpoint", driver.get(text_of(body, "Name")).mountpoint}});
}

PluginAnswer mount(const Json& body, VolumeDriver& driver) {
  const std::string name = text_of(body, "Name");
  const std::string id = id_of(body);
  const VolumeDriver::Mounted mounted = driver.mount(name, id);
  PluginAnswer answer = ok({{"Mountpoint", mounted.mountpoint}});
  if (mounted.is_new) {  // an engine that does not get the answer never unmounts the volume
    answer.undo = [&driver, name, id] { driver.unmount(name, id); };
  }
  return answer;
}

PluginAnswer unmount(const Json& body, VolumeDriver& driver) {
  driver.unmount(text_of(body, "Name"), id_of(body));
  return ok(Json::object());
}

PluginAnswer remove(const Json& body, VolumeDriver& driver) {
  driver.remove(text_of(body, "Name"));
  return ok(Json::object());
}

struct Call {
  std::string_view path;
  PluginAnswer (*run)(const Json& body, VolumeDriver& driver);
};
constexpr std::array kCalls{
    Call{"/Plugin.Activate", activate},
    Call{"/VolumeDriver.Create", create},
    Call{"/VolumeDriver.Get", get},
    Call{"/VolumeDriver.List", list},
    Call{"/VolumeDriver.Mount", mount},
    Call{"/VolumeDriver.Unmount", unmount},
    Call{"/VolumeDriver.Path", path},
    Call{"/VolumeDriver.Remove", remove},
    Call{"/VolumeDriver.Capabilities", capabilities},
};

/// An empty text is an empty object: engines send Activate without a body.
Json parse_body(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return Json::object();
  }
  try {
    Json body(webc::parse_json(text));
    if (body.is_object()) {
      return body;
    }
  } catch (const Error& error) {
    throw BadRequest("the request isn't JSON: " + error.message());
  }
  throw BadRequest("the request isn't a JSON object");
}

}  // namespace

std::string one_line(const Error& error) {
  std::string text;
  std::string_view outer;
  for (const std::string& message : error.chain()) {
    if (!outer.ends_with(message)) {
      text += (text.empty() ? "" : ": ") + message;
    }
    outer = message;
  }
  return text;
}

PluginAnswer plugin_error(unsigned status, std::string_view text) {
  return {.status = status, .body = json_line({{"Err", text}}), .undo = {}};
}

PluginAnswer answer_plugin_request(const PluginRequest& request, VolumeDriver& driver) {
  const auto* call = std::ranges::find(kCalls, request.path, &Call::path);
  if (call == kCalls.end()) {
    return plugin_error(kNotFound, "pkgfs doesn't know the request \"" + std::string(request.path) + "\"");
  }
  if (request.method != "POST") {
    return plugin_error(kBadMethod, std::string(request.path) + " must be a POST");
  }
  try {
    return call->run(parse_body(request.body), driver);
  } catch (const BadRequest& error) {
    return plugin_error(kBadRequest, one_line(error));
  } catch (const Error& error) {
    log::info("{} is answered with an error: {}", request.path, one_line(error));
    return plugin_error(kFailed, one_line(error));
  } catch (...) {
    const Error error = current_error();
    log::warn("{}: {}", request.path, one_line(error));
    return plugin_error(kFailed, one_line(error));
  }
}

}  // namespace pkgfs
