"""A U-Net in half precision's loop (autocast and GradScaler, switched off), Dice and IoU."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from moving import fixed

rng = np.random.default_rng(12)


class DoubleConv(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(
            nn.Conv2d(cin, cout, 3, padding=1, bias=False),
            nn.InstanceNorm2d(cout, affine=True),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.inc, self.down = DoubleConv(1, 4), DoubleConv(4, 8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.conv = DoubleConv(8, 4)
        self.bil = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.out = nn.Conv2d(12, 2, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down(F.max_pool2d(x1, 2))
        u = self.up(x2)
        dy, dx = x1.size()[2] - u.size()[2], x1.size()[3] - u.size()[3]
        u = F.pad(u, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        y = self.conv(torch.cat([x1, u], dim=1))
        v = F.pad(self.bil(x2), [0, dx, 0, dy], mode="replicate")
        return self.out(torch.cat([y, v], dim=1))


model = fixed(UNet()).double().to(memory_format=torch.channels_last)
optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9)
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=0, factor=0.5)
scaler = torch.cuda.amp.GradScaler(enabled=False)
images = torch.from_numpy(rng.standard_normal((2, 1, 9, 11)))
masks = torch.from_numpy(rng.integers(0, 2, (2, 9, 11)))
losses = []
for _ in range(4):
    with torch.autocast("cpu", enabled=False):
        pred = model(images)
        one_hot = F.one_hot(masks, 2).permute(0, 3, 1, 2).double()
        probs = F.softmax(pred, dim=1)
        inter = 2 * (probs * one_hot).sum(dim=(-1, -2))
        dice = (inter + 1e-6) / (probs.sum(dim=(-1, -2)) + one_hot.sum(dim=(-1, -2)) + 1e-6)
        loss = nn.CrossEntropyLoss()(pred, masks) + 1 - dice.mean()
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    got = pred.argmax(1).bool()
    iou = (got & masks.bool()).sum().float() / (got | masks.bool()).sum()
    scheduler.step(0.5)
    losses += [loss.item(), round(iou.item(), 6), optimizer.param_groups[0]["lr"]]
