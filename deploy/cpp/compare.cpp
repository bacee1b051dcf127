// Two wav files -> the score that `groove compare` prints: the cosine of their embeddings.
//
//     compare MODEL.onnx A.wav B.wav
//
// The model file takes the waveform, so there is no feature code here. Recordings are 16 kHz and
// not longer than the card's window (60 s); longer ones are cut into windows by Groove, which weighs
// them by their speech (docs/model-file.md). Speech is not looked for: silence gives a score, too.

#include "ort_abi.h"
#include "wav.h"

#include <cmath>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr uint32_t kSampleRate = 16000;

const ort::Api& api() {
    static const ort::Api table = [] {
        const void* const* found = OrtGetApiBase()->GetApi(ort::kApiVersion);
        if (!found) throw std::runtime_error("this onnxruntime is too old");
        return ort::Api(found);
    }();
    return table;
}

void check(ort::Status* status) {
    if (!status) return;
    const std::string said = api().GetErrorMessage()(status);
    api().ReleaseStatus()(status);
    throw std::runtime_error(said);
}

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T*)>;

// A value of the card's JSON whose key occurs once and whose value holds no comma.
std::string card_value(const std::string& card, const std::string& key) {
    const std::string start = "\"" + key + "\": ";
    const size_t at = card.find(start);
    if (at == std::string::npos) throw std::runtime_error("the model card has no " + key);
    const size_t from = at + start.size();
    return card.substr(from, card.find_first_of(",}", from) - from);
}

class Encoder {
  public:
    explicit Encoder(const std::string& path) {
        check(api().CreateEnv()(ort::kErrorLevel, "groove", &env_));
        ort::SessionOptions* options = nullptr;
        check(api().CreateSessionOptions()(&options));
        const Owned<ort::SessionOptions> owned(options, api().ReleaseSessionOptions());
        check(api().SetIntraOpNumThreads()(options, 1));
        const std::basic_string<ort::PathChar> file(path.begin(), path.end());
        check(api().CreateSession()(env_, file.c_str(), options, &session_));
        check(api().CreateCpuMemoryInfo()(ort::kArenaAllocator, ort::kDefaultMemory, &memory_));
        read_card();
    }

    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    ~Encoder() {
        if (memory_) api().ReleaseMemoryInfo()(memory_);
        if (session_) api().ReleaseSession()(session_);
        if (env_) api().ReleaseEnv()(env_);
    }

    // Samples [S] -> embedding [D], not length-normalised.
    std::vector<float> embed(std::vector<float>& samples, const std::string& name) const {
        const double seconds = double(samples.size()) / kSampleRate;
        if (samples.size() < min_samples_ || seconds > window_s_)
            throw std::runtime_error(name + ": " + std::to_string(seconds) + " s; wanted " +
                                     std::to_string(double(min_samples_) / kSampleRate) + " to " +
                                     std::to_string(window_s_) + " s");
        const int64_t shape[] = {1, int64_t(samples.size())};
        ort::Value* input = nullptr;
        check(api().CreateTensorWithDataAsOrtValue()(memory_, samples.data(),
                                                     samples.size() * sizeof(float), shape, 2,
                                                     ort::kFloat32, &input));
        const Owned<ort::Value> owned_input(input, api().ReleaseValue());
        const char* const inputs[] = {"waveform"};
        const char* const outputs[] = {"embedding"};
        const ort::Value* const given[] = {input};
        ort::Value* output = nullptr;
        check(api().Run()(session_, nullptr, inputs, given, 1, outputs, 1, &output));
        const Owned<ort::Value> owned_output(output, api().ReleaseValue());
        ort::ShapeInfo* info = nullptr;
        check(api().GetTensorTypeAndShape()(output, &info));
        const Owned<ort::ShapeInfo> owned_info(info, api().ReleaseTensorTypeAndShapeInfo());
        size_t size = 0;
        check(api().GetTensorShapeElementCount()(info, &size));
        void* data = nullptr;
        check(api().GetTensorMutableData()(output, &data));
        const float* values = static_cast<const float*>(data);
        return {values, values + size};
    }

  private:
    void read_card() {
        ort::ModelMetadata* metadata = nullptr;
        check(api().SessionGetModelMetadata()(session_, &metadata));
        const Owned<ort::ModelMetadata> owned(metadata, api().ReleaseModelMetadata());
        ort::Allocator* allocator = nullptr;
        check(api().GetAllocatorWithDefaultOptions()(&allocator));
        char* text = nullptr;
        check(api().ModelMetadataLookupCustomMetadataMap()(metadata, allocator, "groove.card", &text));
        if (!text) throw std::runtime_error("an ONNX file without a Groove model card");
        const std::string card = text;
        check(api().AllocatorFree()(allocator, text));
        const std::string version = card_value(card, "card_version");
        if (version != "1" && version != "2")
            throw std::runtime_error("this program reads model cards of versions 1 and 2");
        if (card_value(card, "input") != "\"waveform\"")
            throw std::runtime_error("this model file takes frames; export it with --input waveform");
        if (std::stoul(card_value(card, "sample_rate")) != kSampleRate)
            throw std::runtime_error("this program reads 16 kHz, the model another rate");
        if (card_value(card, "num_crops") != "0")
            throw std::runtime_error("this model file wants crops; this program embeds once");
        window_s_ = std::stod(card_value(card, "window_s"));
        min_samples_ = size_t(std::lround(std::stod(card_value(card, "frame_length_ms")) *
                                          kSampleRate / 1000));
    }

    ort::Env* env_ = nullptr;
    ort::Session* session_ = nullptr;
    ort::MemoryInfo* memory_ = nullptr;
    double window_s_ = 0;
    size_t min_samples_ = 0;
};

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
    double product = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        product += double(a[i]) * b[i];
        aa += double(a[i]) * a[i];
        bb += double(b[i]) * b[i];
    }
    return product / std::sqrt(aa * bb);
}

std::vector<float> embed_file(const Encoder& encoder, const std::string& path) {
    wav::Sound sound = wav::read(path);
    if (sound.rate != kSampleRate)
        throw std::runtime_error(path + ": " + std::to_string(sound.rate) + " Hz; wanted 16000");
    return encoder.embed(sound.samples, path);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: compare MODEL.onnx A.wav B.wav\n");
        return 2;
    }
    try {
        const Encoder encoder(argv[1]);
        std::printf("%.6f\n", cosine(embed_file(encoder, argv[2]), embed_file(encoder, argv[3])));
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "compare: %s\n", error.what());
        return 2;
    }
}
