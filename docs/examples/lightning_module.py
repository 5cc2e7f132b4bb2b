"""A sequence classifier as a Lightning module.

To try another cell change one line, the one that makes `self.rnn`:

    self.rnn = Recurrent("gru", inputs, hidden, batch_first=True)
"""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rnnbench.nn import Recurrent  # noqa: F401


class Classifier(lightning.LightningModule):
    def __init__(self, inputs=2, hidden=16, classes=2, rate=0.02):
        super().__init__()
        self.rnn = nn.GRU(inputs, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, classes)
        self.rate = rate

    def forward(self, x):
        return self.readout(self.rnn(x)[0][:, -1])

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def walks(count=64, steps=10):
    """Random walks; the class says whether the first step went up."""
    moves = torch.randn(count, steps, 2, generator=torch.Generator().manual_seed(0))
    return TensorDataset(moves.cumsum(1), (moves[:, 0, 0] > 0).long())


def fit(epochs=5):
    """Train; returns the last loss."""
    lightning.seed_everything(0, verbose=False)
    model = Classifier()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(walks(), batch_size=16))
    return trainer.callback_metrics["loss"].item()


if __name__ == "__main__":
    print(fit())
