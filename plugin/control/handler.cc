#include "control/handler.h"

#include "control/metrics.h"

namespace davit::control {

http::Handler make_handler(ControlApi& api) {
  return [&api](const http::Request& request, http::Responder& responder) {
    if (request.method == "GET" && request.target == "/metrics") {
      responder.send(200, kMetricsContentType, api.metrics());
      return;
    }
    responder.begin_stream(200, kContentType);
    api.handle(
        request.method, request.target, request.body,
        [&](std::string_view lines) { responder.write(lines); }, request.stop);
  };
}

}  // namespace davit::control
