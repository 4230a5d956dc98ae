// A vCenter for the tests: VMware's own simulator, with a datacenter DC0, on loopback and a port of its own choice.
//
// It says where it listens, and ends with its standard input. It answers each line there with one:
//
//	fail METHOD FAULT TIMES: the next calls of a method fail for session, permission, space, down or taken
//	state MACHINE STATE:     a machine is connected, disconnected, inaccessible, …
//	address ID ADDRESS:      a machine's guest has an address, as its VMware Tools would say
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log"
	"net/url"
	"os"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator" // content libraries, at /rest
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

var faults = map[string]types.BaseMethodFault{
	"session":    &types.NotAuthenticated{},
	"permission": &types.NoPermission{PrivilegeId: "VirtualMachine.Inventory.Delete"},
	"space":      &types.NoDiskSpace{Datastore: "LocalDS_0"},
	"down":       &types.HostCommunication{},
	"taken":      &types.DuplicateName{Name: "another", Object: types.ManagedObjectReference{Type: "Folder", Value: "group-d1"}},
}

// configured gives clones what their call says of their configuration (VirtualMachineCloneSpec.config). The simulator
// writes that into a copy of the clone's, which it then drops (virtual_machine.go of 0.53.0, CloneVMTask).
type configured struct {
	sync.Mutex
	told map[string][]types.BaseOptionValue // by the name of a clone that is being made
}

func (c *configured) call(ctx *simulator.Context, call *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if asked, ok := call.Body.(*types.CloneVM_Task); ok && asked.Spec.Config != nil {
		c.Lock()
		defer c.Unlock()
		c.told[asked.Name] = asked.Spec.Config.ExtraConfig
	}
	return nil, nil
}

func (c *configured) UpdateObject(_ *simulator.Context, made mo.Reference, _ []types.PropertyChange) {
	if vm, ok := made.(*mo.VirtualMachine); ok && vm.Config != nil {
		c.Lock()
		defer c.Unlock()
		vm.Config.ExtraConfig = append(vm.Config.ExtraConfig, c.told[vm.Name]...)
		delete(c.told, vm.Name)
	}
}

func (c *configured) Reference() types.ManagedObjectReference { return types.ManagedObjectReference{} }

func (c *configured) PutObject(*simulator.Context, mo.Reference) {}

func (c *configured) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

// Of a network card Packer's builders look at `ipConfig`, which the simulator's own `SET.guest.ipAddress` leaves out.
func hasAddress(ctx *simulator.Context, vm *simulator.VirtualMachine, address string) {
	cards := append([]types.GuestNicInfo{}, vm.Guest.Net...)
	for i := range cards {
		cards[i].IpAddress = []string{address}
		cards[i].IpConfig = &types.NetIpConfigInfo{IpAddress: []types.NetIpConfigInfoIpAddress{
			{IpAddress: address, PrefixLength: 8, State: "preferred"},
		}}
	}
	ctx.Update(vm, []types.PropertyChange{
		{Name: "guest.net", Val: cards},
		{Name: "guest.ipAddress", Val: address},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)},
	})
}

func main() {
	model := simulator.VPX()
	model.Autostart = false
	model.ServiceContent.About.InstanceUuid = uuid.NewString() // the simulator has one for all that run
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(os.Args[1], os.Args[2])}
	model.Service.TLS = new(tls.Config)
	model.Service.RegisterEndpoints = true
	clones := &configured{told: map[string][]types.BaseOptionValue{}}
	model.Map().Handler = clones.call
	model.Map().AddHandler(clones)
	server := model.Service.NewServer()
	fmt.Println(server.URL.Host)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var of, how string
		var times int
		if _, err := fmt.Sscanf(lines.Text(), "fail %s %s %d", &of, &how, &times); err == nil && faults[how] != nil {
			model.Service.AddFaultRule(&simulator.FaultInjectionRule{
				MethodName: of, ObjectType: "*", ObjectName: "*", Probability: 1, MaxCount: times, Enabled: true,
				FaultType: simulator.FaultTypeCustom, Fault: faults[how],
			})
		} else if _, err := fmt.Sscanf(lines.Text(), "state %s %s", &of, &how); err == nil {
			context := model.Service.Context
			for _, one := range context.Map.All("VirtualMachine") {
				if vm := one.(*simulator.VirtualMachine); vm.Name == of {
					state := types.VirtualMachineConnectionState(how)
					context.Update(vm, []types.PropertyChange{{Name: "runtime.connectionState", Val: state}})
				}
			}
		} else if _, err := fmt.Sscanf(lines.Text(), "address %s %s", &of, &how); err == nil {
			context := model.Service.Context
			if vm, ok := context.Map.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: of}).(*simulator.VirtualMachine); ok {
				hasAddress(context, vm, how)
			}
		} else {
			log.Fatalf("not understood: %s", lines.Text())
		}
		fmt.Println("so be it")
	}
	server.Close()
	model.Remove()
}
