#include "control/handler.h"

namespace davit::control {

http::Handler make_handler(ControlApi& api) {
  return [&api](const http::Request& request, http::Responder& responder) {
    responder.begin_stream(200, kContentType);
    api.handle(
        request.method, request.target, request.body,
        [&](std::string_view lines) { responder.write(lines); }, request.stop);
  };
}

}  // namespace davit::control
