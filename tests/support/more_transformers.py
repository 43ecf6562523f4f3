"""Tiny configs of further families of transformers, for `scripts/check_architectures.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_SWIN = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 4],
    "window_size": 4,
}
_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "vocab_size": 99,
}
_VIT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
_WAVE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 37,
    "vocab_size": 20,
    "conv_dim": (16, 16),
    "conv_stride": (4, 4),
    "conv_kernel": (8, 8),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 2,
}


def _resnet(t: Any) -> Any:
    return t.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16, 32, 32],
        depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def _swin_backbone(t: Any) -> Any:
    sizes = {**_SWIN, "depths": [1, 1, 1, 1], "num_heads": [2, 2, 4, 4], "image_size": 64}
    return t.SwinConfig(**sizes, out_features=["stage1", "stage2", "stage3", "stage4"])


def _conditional_detr(t: Any) -> Any:
    return t.ConditionalDetrConfig(
        use_timm_backbone=False,
        backbone=None,
        use_pretrained_backbone=False,
        d_model=32,
        num_queries=4,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        backbone_config=_resnet(t),
    )


def _maskformer(t: Any) -> Any:
    decoder = t.DetrConfig(
        use_timm_backbone=False,
        backbone=None,
        use_pretrained_backbone=False,
        d_model=32,
        num_queries=4,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        backbone_config=_resnet(t),
    )
    return t.MaskFormerConfig(
        fpn_feature_size=32, mask_feature_size=32, backbone_config=_swin_backbone(t), decoder_config=decoder
    )


def _mask2former(t: Any) -> Any:
    return t.Mask2FormerConfig(
        backbone_config=_swin_backbone(t),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=48,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        dim_feedforward=48,
        num_queries=4,
        train_num_points=64,
    )


def _upernet(t: Any) -> Any:
    return t.UperNetConfig(
        backbone_config=_resnet(t),
        hidden_size=32,
        pool_scales=[1, 2],
        auxiliary_channels=8,
        num_labels=5,
        auxiliary_in_channels=32,
    )


def _vision_encoder_decoder(t: Any) -> Any:
    decoder = t.BertConfig(**_BERT, is_decoder=True, add_cross_attention=True)
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(t.ViTConfig(**_VIT), decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return config


def _speech_encoder_decoder(t: Any) -> Any:
    decoder = t.BertConfig(**_BERT, is_decoder=True, add_cross_attention=True)
    config = t.SpeechEncoderDecoderConfig.from_encoder_decoder_configs(t.Wav2Vec2Config(**_WAVE), decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return config


def _encoder_decoder(t: Any) -> Any:
    decoder = t.BertConfig(**_BERT, is_decoder=True, add_cross_attention=True)
    config = t.EncoderDecoderConfig.from_encoder_decoder_configs(t.BertConfig(**_BERT), decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    return config


def _vit_pose(t: Any) -> Any:
    backbone = t.VitPoseBackboneConfig(
        image_size=[32, 24],
        patch_size=[8, 8],
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        out_indices=[2],
    )
    return t.VitPoseConfig(backbone_config=backbone, num_labels=5)


def _sam(t: Any) -> Any:
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 8,
        "output_channels": 16,
        "mlp_dim": 48,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 8,
    }
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 8}
    mask = {
        "hidden_size": 16,
        "mlp_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    }
    return t.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=mask)


def _blip2(t: Any, config: Any) -> Any:
    text = t.OPTConfig(
        vocab_size=99,
        hidden_size=32,
        ffn_dim=37,
        num_hidden_layers=2,
        num_attention_heads=2,
        word_embed_proj_dim=32,
        max_position_embeddings=64,
    )
    former = {**_BERT, "encoder_hidden_size": 32}
    return config(
        vision_config=_VIT,
        qformer_config=former,
        text_config=text.to_dict(),
        num_query_tokens=4,
        image_token_index=98,
    )


def _series(kind: str) -> Callable[[Any], Any]:
    sizes = {
        "prediction_length": 6,
        "context_length": 12,
        "lags_sequence": [1, 2, 3],
        "num_time_features": 2,
        "d_model": 16,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "num_static_categorical_features": 1,
        "cardinality": [5],
        "embedding_dimension": [4],
    }
    return lambda t: getattr(t, kind)(**sizes)


#: Class -> its tiny config, given the transformers module.
MORE: dict[str, Callable[[Any], Any]] = {
    "SwinForImageClassification": lambda t: t.SwinConfig(**_SWIN, num_labels=5),
    "ConvNextForImageClassification": lambda t: t.ConvNextConfig(
        hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], num_labels=5
    ),
    "ResNetForImageClassification": lambda t: t.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], num_labels=5
    ),
    "DPTForDepthEstimation": lambda t: t.DPTConfig(
        **{**_VIT, "num_hidden_layers": 4},
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        reassemble_factors=[4, 2, 1, 0.5],
        is_hybrid=False,
    ),
    "GLPNForDepthEstimation": lambda t: t.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    ),
    "SegformerForSemanticSegmentation": lambda t: t.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
    ),
    "AlignModel": lambda t: t.AlignConfig(
        text_config=_BERT,
        projection_dim=80,
        vision_config={
            "width_coefficient": 0.25,
            "depth_coefficient": 0.2,
            "image_size": 64,
            "hidden_dim": 80,
        },
    ),
    "ClapModel": lambda t: t.ClapConfig(
        text_config=_BERT,
        projection_dim=16,
        audio_config={
            "spec_size": 64,
            "num_mel_bins": 16,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "window_size": 4,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "patch_embeds_hidden_size": 16,
            "hidden_size": 32,
        },
    ),
    "CLIPSegForImageSegmentation": lambda t: t.CLIPSegConfig(
        text_config=_BERT,
        vision_config=_VIT,
        projection_dim=32,
        extract_layers=[0, 1],
        reduce_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    ),
    "LayoutLMv3ForTokenClassification": lambda t: t.LayoutLMv3Config(
        **_BERT, coordinate_size=6, shape_size=4, input_size=32, patch_size=8
    ),
    "Blip2ForConditionalGeneration": lambda t: _blip2(t, t.Blip2Config),
    "InstructBlipForConditionalGeneration": lambda t: _blip2(t, t.InstructBlipConfig),
    "Swin2SRForImageSuperResolution": lambda t: t.Swin2SRConfig(
        image_size=16, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4, patch_size=1, upscale=2
    ),
    "UperNetForSemanticSegmentation": _upernet,
    "YolosForObjectDetection": lambda t: t.YolosConfig(
        **{**_VIT, "image_size": [32, 48]}, num_detection_tokens=4
    ),
    "ConditionalDetrForObjectDetection": _conditional_detr,
    "MaskFormerForInstanceSegmentation": _maskformer,
    "Mask2FormerForUniversalSegmentation": _mask2former,
    "VitPoseForPoseEstimation": _vit_pose,
    "SamModel": _sam,
    "Wav2Vec2ForCTC": lambda t: t.Wav2Vec2Config(**_WAVE),
    "Wav2Vec2ForSequenceClassification": lambda t: t.Wav2Vec2Config(**_WAVE),
    "HubertForCTC": lambda t: t.HubertConfig(**_WAVE),
    "WavLMForCTC": lambda t: t.WavLMConfig(**_WAVE),
    "VisionEncoderDecoderModel": _vision_encoder_decoder,
    "SpeechEncoderDecoderModel": _speech_encoder_decoder,
    "EncoderDecoderModel": _encoder_decoder,
    "VisionTextDualEncoderModel": lambda t: t.VisionTextDualEncoderConfig.from_vision_text_configs(
        t.ViTConfig(**_VIT), t.BertConfig(**_BERT), projection_dim=16
    ),
    "TimeSeriesTransformerForPrediction": _series("TimeSeriesTransformerConfig"),
    "InformerForPrediction": _series("InformerConfig"),
    "AutoformerForPrediction": _series("AutoformerConfig"),
    "PatchTSTForPrediction": lambda t: t.PatchTSTConfig(
        num_input_channels=3,
        context_length=24,
        prediction_length=6,
        patch_length=4,
        patch_stride=4,
        d_model=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=32,
    ),
    "PatchTSMixerForPrediction": lambda t: t.PatchTSMixerConfig(
        num_input_channels=3,
        context_length=24,
        prediction_length=6,
        patch_length=4,
        patch_stride=4,
        d_model=8,
    ),
}
