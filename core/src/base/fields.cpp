#include <dtk/error.hpp>
#include <dtk/fields.hpp>

namespace dtk {

Fields::~Fields() = default;

std::shared_ptr<void> AnyPart::built(const BuildContext& context) const {
    if (!build) throw Error("plugin `" + use + "` was asked for before it was read from a file");
    return build(context);
}

}  // namespace dtk
