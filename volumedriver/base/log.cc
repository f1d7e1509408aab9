#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include "base/errors.h"

namespace davit::base {

void start_log(const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off")
    throw UsageError("log level '" + level + "' is none of trace, debug, info, warn, error, off");
  auto logger = std::make_shared<spdlog::logger>("davit", std::make_shared<spdlog::sinks::stdout_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace davit::base
