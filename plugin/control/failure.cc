#include "control/failure.h"

#include "base/errors.h"

namespace davit::control {

Failure describe(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (
      const base::NoRepository& error) {  // the special kinds before the kinds that they are of
    return {kNoRepository, "no_repository", error.what()};
  } catch (const base::Locked& error) {
    return {kLocked, "locked", error.what()};
  } catch (const base::WrongPassword& error) {
    return {kWrongPassword, "wrong_password", error.what()};
  } catch (const base::UsageError& error) {
    return {kFailed, "usage", error.what()};
  } catch (const base::NotFound& error) {
    return {kFailed, "not_found", error.what()};
  } catch (const base::Conflict& error) {
    return {kFailed, "conflict", error.what()};
  } catch (const base::Corrupt& error) {
    return {kFailed, "corrupt", error.what()};
  } catch (const base::Unsupported& error) {
    return {kFailed, "unsupported", error.what()};
  } catch (const base::IoError& error) {
    return {kFailed, "io", error.what()};
  } catch (const base::Cancelled&) {
    return {kInterrupted, "interrupted", "interrupted"};
  } catch (const std::exception& error) {
    return {kFailed, "internal", error.what()};
  } catch (...) {
    return {kFailed, "internal", "an unknown error"};
  }
}

}  // namespace davit::control
