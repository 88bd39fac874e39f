"""Boxes: decoding, IoU, non-maximum suppression by hand, a focal loss, indices of masks."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from moving import fixed

rng = np.random.default_rng(16)


def box_iou(a, b):
    lt = torch.max(a[:, None, :2], b[:, :2])
    rb = torch.min(a[:, None, 2:], b[:, 2:])
    inter = (rb - lt).clamp(min=0).prod(dim=2)
    area = lambda t: (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])
    return inter / (area(a)[:, None] + area(b) - inter)


def nms(boxes, scores, threshold):
    order, keep = scores.sort(0, descending=True)[1], []
    while order.numel() > 0:
        i = order[0].item()
        keep.append(i)
        if order.numel() == 1:
            break
        iou = box_iou(boxes[i].unsqueeze(0), boxes[order[1:]]).squeeze(0)
        ids = (iou <= threshold).nonzero(as_tuple=False).squeeze(1)
        order = order[ids + 1]
    return torch.LongTensor(keep)


def focal_loss(logits, target, alpha=0.25, gamma=2.0):
    p = torch.sigmoid(logits)
    ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    p_t = p * target + (1 - p) * (1 - target)
    a_t = torch.where(target == 1, torch.full_like(p, alpha), torch.full_like(p, 1 - alpha))
    return (a_t * ce * (1 - p_t) ** gamma).sum() / max(1, int(target.sum()))


grid = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij"), -1).double()
centres = grid.view(-1, 2) * 4 + 2
head = fixed(nn.Conv2d(2, 5, 1)).double()
features = torch.from_numpy(rng.standard_normal((1, 2, 4, 4)))
truth = torch.tensor([[1.0, 1.0, 7.0, 7.0], [8.0, 9.0, 15.0, 14.0]], dtype=torch.float64)
optimizer = torch.optim.Adagrad(head.parameters(), lr=0.1)
losses = []
for _ in range(4):
    out = head(features).permute(0, 2, 3, 1).contiguous().view(-1, 5)
    half = out[:, 2:4].exp() * 2
    middle = centres + torch.tanh(out[:, :2])
    boxes = torch.cat((middle - half, middle + half), dim=-1)
    iou = box_iou(boxes, truth)
    best, which = iou.max(dim=1)
    positive = best > 0.2
    positive[iou.argmax(0)] = True
    target = positive.type_as(out)
    loss = focal_loss(out[:, 4], target)
    loss = loss + F.l1_loss(boxes[positive], truth[which[positive]], reduction="none").mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    kept = nms(boxes.detach(), out[:, 4].detach(), 0.3)
    losses += [loss.item(), len(kept), int(kept[0]), int(positive.sum())]
