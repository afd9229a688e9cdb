"""The small network, whose layers have names of their own."""

from ccp_dml.models import EmbeddingModel, ProxyModel, small_convnet


def test_its_layers_are_called_the_same_every_time():
    for _ in range(2):
        network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8)), embedding_size=6)
        model = ProxyModel(
            network, 5, learning_rate_multipliers={"block_2_conv": 3}, layer_decay=0.5
        )
        model.compile("adam", loss="contrastive")
        paths = [variable.path for variable in network.backbone.trainable_variables]
        names = ("block_1_conv", "block_2_conv")
        assert paths == [f"{name}/{part}" for name in names for part in ("kernel", "bias")]
        assert model.optimizer.multipliers == (0.25, 0.25, 1.5, 1.5, 1.0, 1.0)
